/** The calls under way. */
import type { Logger } from 'pino';
import type { KeelsonError } from '../../kernel/errors.js';
import { ServerCall, type Surface } from './call.js';

export class Calls {
  readonly #open = new Set<ServerCall>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  open(path: string, streams: boolean, surface: Surface): ServerCall {
    const call = new ServerCall(path, streams, surface);
    this.#open.add(call);
    return call;
  }

  /** Its handler has ended. */
  close(call: ServerCall): void {
    call.settle();
    this.#open.delete(call);
  }

  /** Its handler threw what it should not have. */
  fault({ path }: ServerCall, error: unknown): void {
    this.#log.error({ err: error, method: path }, 'a handler failed');
  }

  abort(reason: KeelsonError, which: (call: ServerCall) => boolean): void {
    for (const call of this.#open) if (which(call)) call.abort(reason);
  }

  /** Resolves when those under way now have ended. */
  async over(): Promise<void> {
    await Promise.all([...this.#open].map(({ ended }) => ended));
  }

  /** Those under way now, of these methods. */
  to(paths: ReadonlySet<string>): readonly ServerCall[] {
    return [...this.#open].filter(({ path }) => paths.has(path));
  }

  paths(): readonly string[] {
    return [...this.#open].map(({ path }) => path);
  }
}
