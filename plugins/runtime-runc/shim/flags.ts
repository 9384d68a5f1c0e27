/** Flags as containerd gives them to a shim: Go's form, `-name value` or `-name=value`, and a command last. */
import { invalidArgument } from '../../../kernel/errors.js';

const SWITCHES = ['debug', 'v', 'info'];

export interface ShimFlags {
  readonly command: string;
  readonly namespace: string;
  readonly id: string;
  /** Socket of containerd's gRPC server. */
  readonly address: string;
  /** The bundle; empty when it is the working directory. */
  readonly bundle: string;
  readonly version: boolean;
  readonly info: boolean;
}

/** Flags that mean nothing here are passed over. INVALID_ARGUMENT for one that lacks its value. */
export function parseFlags(args: readonly string[]): ShimFlags {
  const values = new Map<string, string>();
  const rest = [...args];
  let command = '';
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    const [, name, given] = /^--?([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) command = arg;
    else if (given !== undefined) values.set(name, given);
    else if (SWITCHES.includes(name)) values.set(name, 'true');
    else {
      const value = rest.shift();
      if (value === undefined) throw invalidArgument(`flag -${name} needs a value`);
      values.set(name, value);
    }
  }
  const text = (name: string): string => values.get(name) ?? '';
  return {
    command,
    namespace: text('namespace'),
    id: text('id'),
    address: text('address'),
    bundle: text('bundle'),
    version: text('v') === 'true',
    info: text('info') === 'true',
  };
}
