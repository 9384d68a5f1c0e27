/** This program's own terminal while a process with a terminal runs in the foreground. */

export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

/** Raw mode until disposed: keys reach the container, not the line discipline here. A no-op when stdin is no terminal. */
export function rawTerminal(): Disposable {
  const { stdin } = process;
  if (!stdin.isTTY) return { [Symbol.dispose]() {} };
  stdin.setRawMode(true);
  return {
    [Symbol.dispose]() {
      stdin.setRawMode(false);
    },
  };
}

/** Tells the size now and whenever it changes, until the returned function is called. */
export function followSize(tell: (size: TerminalSize) => void): () => void {
  const { stdout } = process;
  if (!stdout.isTTY) return () => {};
  const report = (): void => tell({ width: stdout.columns, height: stdout.rows });
  report();
  stdout.on('resize', report);
  return () => stdout.off('resize', report);
}
