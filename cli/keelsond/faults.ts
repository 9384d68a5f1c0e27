/** What nobody caught. A daemon that others depend on logs it, with the plugin it came from, and stays up. */
import type { Logger } from 'pino';
import { activePlugin, messageOf } from '../../kernel/index.js';

/** Receives what introspection is to show of the plugin. */
type Tell = (plugin: string, facts: Readonly<Record<string, string>>) => void;

export class Faults {
  readonly #log: Logger;
  readonly #tell: Tell;
  readonly #byPlugin = new Map<string, number>();
  #count = 0;

  constructor(log: Logger, tell: Tell) {
    this.#log = log;
    this.#tell = tell;
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
    const plugin = activePlugin();
    this.#log.error({ plugin, faults: this.#count, err: thrown }, kind);
    if (plugin === undefined) return;
    const count = (this.#byPlugin.get(plugin) ?? 0) + 1;
    this.#byPlugin.set(plugin, count);
    this.#tell(plugin, {
      'io.keelson.faults': String(count),
      'io.keelson.last-fault': `${kind}: ${messageOf(thrown)}`,
    });
  }
}
