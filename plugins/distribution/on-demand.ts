/**
 * Loads the registry client with the first call that needs it. It is a large part of the daemon's code,
 * and a daemon that just starts, or only runs containers, does without.
 */
import type { Archives, ExportOptions } from '../../kernel/contracts/archives.js';
import type {
  Distribution,
  FetchOptions,
  PullOptions,
  PushOptions,
  ReferrersOptions,
  RegistryAccess,
} from '../../kernel/contracts/distribution.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { canceled } from '../../kernel/errors.js';
import type { RegistryDistribution } from './distribution.js';

export class OnDemandDistribution implements Distribution {
  readonly #load: () => Promise<RegistryDistribution>;
  #loaded: Promise<RegistryDistribution> | undefined;
  #stopped = false;

  constructor(load: () => Promise<RegistryDistribution>) {
    this.#load = load;
  }

  async resolve(scope: Scope, reference: string, access?: RegistryAccess) {
    return (await this.#distribution()).resolve(scope, reference, access);
  }

  async fetch(scope: Scope, reference: string, options?: FetchOptions) {
    return (await this.#distribution()).fetch(scope, reference, options);
  }

  async pull(scope: Scope, reference: string, options?: PullOptions) {
    return (await this.#distribution()).pull(scope, reference, options);
  }

  async push(scope: Scope, reference: string, target: Descriptor, options?: PushOptions) {
    return (await this.#distribution()).push(scope, reference, target, options);
  }

  async referrers(scope: Scope, reference: string, options?: ReferrersOptions) {
    return (await this.#distribution()).referrers(scope, reference, options);
  }

  readonly archives: Archives = {
    import: async (scope, archive, options) => (await this.#distribution()).archives.import(scope, archive, options),
    export: (scope, names, options) => this.#export(scope, names, options),
  };

  async *#export(scope: Scope, names: readonly string[], options?: ExportOptions): AsyncGenerator<Uint8Array> {
    yield* (await this.#distribution()).archives.export(scope, names, options);
  }

  /** Cancels what runs and resolves when all of it has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await (await this.#loaded)?.stop();
  }

  async #distribution(): Promise<RegistryDistribution> {
    if (this.#stopped && !this.#loaded) throw canceled('distribution has stopped');
    this.#loaded ??= this.#load();
    return this.#loaded;
  }
}
