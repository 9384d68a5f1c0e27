import type { Size } from './process.js';

/**
 * An OCI process (JSON) whose terminal has that size before its first
 * instruction: set by us, it would come when the process has long looked. Put in
 * as text, since numbers of a spec have 64 bits, which parsing would not keep.
 * What is no object stays as it is: the runtime says what is wrong with it.
 */
export function withConsoleSize(process: Uint8Array, size: Size | undefined): Uint8Array {
  const text = Buffer.from(process).toString().trimEnd();
  if (size === undefined || !text.endsWith('}')) return process;
  const members = text.slice(0, -1);
  const separator = members.trimEnd() === '{' ? '' : ',';
  const { width, height } = size;
  return Buffer.from(`${members}${separator}"consoleSize":${JSON.stringify({ height, width })}}`);
}
