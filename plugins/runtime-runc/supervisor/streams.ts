/** The standard streams of one process. */
import { openSync } from 'node:fs';
import type { Stdio } from '../../../api/gen/runtime/supervisor.js';
import { invalidArgument } from '../../../kernel/errors.js';
import { resizeTerminal } from '../../../lib/linux/pty.js';
import { Descriptors } from './descriptors.js';
import { Input } from './input.js';
import { startLogger } from './logger.js';
import { type Output, openLogFile, openPath } from './outputs.js';
import type { Reaper } from './reaper.js';
import { Terminal } from './terminal.js';

/** Whom FIFOs are to belong to (`io_uid`, `io_gid` of the runtime's options). */
export interface Owner {
  take(fd: number): void;
}

export interface StreamsContext {
  readonly reaper: Reaper;
  readonly id: string;
  readonly namespace: string;
  readonly owner: Owner;
  onError(error: unknown): void;
}

const isUri = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(text);

/** Both, or none. */
function openBoth(first: () => Output, second: () => Output): [Output, Output] {
  const output = first();
  try {
    return [output, second()];
  } catch (error) {
    output.close();
    throw error;
  }
}

async function openOutputs(stdio: Stdio, context: StreamsContext): Promise<[Output, Output]> {
  if (!isUri(stdio.stdout)) {
    return openBoth(
      () => openPath(stdio.stdout, context.owner),
      () => openPath(stdio.terminal ? '' : stdio.stderr, context.owner),
    );
  }
  const uri = URL.parse(stdio.stdout);
  switch (uri?.protocol) {
    case 'fifo:':
      return openBoth(
        () => openPath(uri.pathname, context.owner),
        () => openPath(stdio.stderr.replace(/^fifo:\/\//, ''), context.owner),
      );
    case 'file:': {
      const open = (): Output => openLogFile(decodeURIComponent(uri.pathname));
      return openBoth(open, open);
    }
    case 'binary:':
    case 'binary-v2:': {
      const { stdout, stderr } = await startLogger(context.reaper, {
        uri,
        id: context.id,
        namespace: context.namespace,
      });
      return [stdout, stderr];
    }
    default:
      throw invalidArgument(`unknown STDIO scheme of "${stdio.stdout}"`, {
        remedy: 'use a FIFO, file://, binary:// or binary-v2://',
      });
  }
}

const openInput = ({ stdin }: Stdio, { owner }: StreamsContext): Input | undefined =>
  stdin === '' ? undefined : new Input(stdin.replace(/^fifo:\/\//, ''), owner);

export class Streams {
  readonly #stdio: Stdio;
  readonly #descriptors = new Descriptors();
  readonly #nothing: number;
  readonly #input: Input | undefined;
  readonly #outputs: readonly [Output, Output];
  readonly #onError: (error: unknown) => void;
  #terminal: Terminal | undefined;

  private constructor(
    stdio: Stdio,
    input: Input | undefined,
    outputs: readonly [Output, Output],
    { onError }: StreamsContext,
  ) {
    this.#stdio = stdio;
    this.#input = input;
    this.#outputs = outputs;
    this.#nothing = this.#descriptors.add(openSync('/dev/null', 'r+'));
    this.#onError = onError;
  }

  /** INVALID_ARGUMENT for a scheme or path that is none; FAILED_PRECONDITION when a logging program does not start. */
  static async open(stdio: Stdio, context: StreamsContext): Promise<Streams> {
    const outputs = await openOutputs(stdio, context);
    let input: Input | undefined;
    try {
      input = openInput(stdio, context);
      return new Streams(stdio, input, outputs, context);
    } catch (error) {
      input?.close();
      for (const output of outputs) output.close();
      throw error;
    }
  }

  /** Descriptors 0, 1 and 2 for the runtime; a terminal's come over the console socket instead. */
  get files(): readonly [number, number, number] {
    if (this.#stdio.terminal) return [this.#nothing, this.#nothing, this.#nothing];
    const [stdout, stderr] = this.#outputs;
    return [this.#input?.file ?? this.#nothing, stdout.file, stderr.file];
  }

  /** The supervisor's descriptor of the terminal; 0 when there is none. */
  get terminalFd(): number {
    return this.#terminal?.master ?? 0;
  }

  /** The process has been made: it has its descriptors, and its terminal, whose master is taken over, if it has one. */
  handedOver(master?: number): void {
    if (master !== undefined) {
      this.#terminal = new Terminal({
        master,
        input: this.#input?.held,
        output: this.#outputs[0].copyTarget(),
        onError: this.#onError,
      });
    }
    this.#descriptors.closeAll();
    this.#input?.handedOver();
    for (const output of this.#outputs) output.handedOver();
  }

  /** False when there is no terminal. */
  resize(size: { readonly width: number; readonly height: number }): boolean {
    if (this.#terminal === undefined) return false;
    resizeTerminal(this.#terminal.master, size);
    return true;
  }

  /** The process reads the end of its input once it has read what is there; a terminal has no end. Idempotent. */
  closeInput(): void {
    if (!this.#stdio.terminal) this.#input?.release();
  }

  /** The process has exited: whoever reads gets the end once everything is read. */
  finish(): void {
    if (this.#terminal) this.#terminal.drain(() => this.#finish());
    else this.#finish();
  }

  #finish(): void {
    this.#closeTerminal();
    this.#input?.close();
    for (const output of this.#outputs) output.finish();
  }

  #closeTerminal(): void {
    this.#terminal?.close();
    this.#terminal = undefined;
  }

  /** Lets go of everything at once, read or not. Idempotent. */
  close(): void {
    this.#closeTerminal();
    this.#descriptors.closeAll();
    this.#input?.close();
    for (const output of this.#outputs) output.close();
  }
}
