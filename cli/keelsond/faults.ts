/** What nobody caught. A daemon that others depend on logs it, with the plugin it came from, and stays up. */
import type { Logger } from 'pino';
import { activePlugin } from '../../kernel/index.js';

export class Faults {
  readonly #log: Logger;
  #count = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** How many there have been. */
  get count(): number {
    return this.#count;
  }

  watch(): void {
    process.on('uncaughtException', (error) => this.#note('uncaught exception', error));
    process.on('unhandledRejection', (reason) => this.#note('unhandled rejection', reason));
  }

  #note(kind: string, thrown: unknown): void {
    this.#count += 1;
    this.#log.error({ plugin: activePlugin(), faults: this.#count, err: thrown }, kind);
  }
}
