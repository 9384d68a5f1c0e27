/** The process behind a proxy plugin: late, dying, hanging or lying, it costs one call an error and nobody else anything. */
import { setTimeout as interruptible } from 'node:timers/promises';
import { dataLoss, deadlineExceeded, hasCode, KeelsonError, unavailable } from '../../kernel/errors.js';
import type { ProxySettings } from '../../lib/proxy-settings.js';
import { Channel } from '../../lib/rpc/channel.js';
import type { ServiceDefinition } from '../../lib/rpc/definition.js';
import { isExpected } from '../../lib/rpc/status.js';
import type { CallOptions, Stub } from '../../lib/rpc/stub.js';

/** Most milliseconds between two attempts to connect again. */
const MAX_BACKOFF = 3000;

/** Milliseconds before a call that waits is made for the second time. */
const MIN_PAUSE = 100;

/** How a call was made that failed. */
interface Made {
  readonly signal?: AbortSignal;
  readonly seconds?: number;
}

export class Remote {
  readonly name: string;
  readonly #settings: ProxySettings;
  readonly #channel: Channel;
  readonly #closing = new AbortController();

  constructor(name: string, settings: ProxySettings) {
    this.name = name;
    this.#settings = settings;
    this.#channel = new Channel({ address: settings.address, maxBackoff: MAX_BACKOFF });
  }

  stub<D extends ServiceDefinition>(service: D): Stub<D> {
    return this.#channel.stub(service, this.#settings.namespace);
  }

  /**
   * Makes one call once the socket answers. UNAVAILABLE when it does not, or
   * dies meanwhile; DEADLINE_EXCEEDED when the call is not answered in time;
   * errors of the process itself are passed on with its name. `extra`: seconds
   * that the call takes because it was asked to.
   */
  async call<T>(
    what: string,
    make: (options: CallOptions) => Promise<T>,
    scope: CallOptions = {},
    extra = 0,
  ): Promise<T> {
    await this.#connected();
    const seconds = this.#settings.timeout + extra;
    try {
      return await make({ timeout: seconds * 1000, ...scope });
    } catch (error) {
      throw this.explain(what, error, { ...scope, seconds });
    }
  }

  /**
   * A call that takes as long as what it waits for, whatever becomes of the process meanwhile: it is made again while
   * that is UNAVAILABLE, until the caller has gone or this is closed.
   */
  async outlast<T>(what: string, make: (options: CallOptions) => Promise<T>, scope: CallOptions): Promise<T> {
    const signal = AbortSignal.any([this.#closing.signal, ...(scope.signal ? [scope.signal] : [])]);
    for (let pause = MIN_PAUSE; ; pause = Math.min(2 * pause, MAX_BACKOFF)) {
      try {
        await this.#connected();
        return await make({ ...scope, signal });
      } catch (error) {
        const failure = this.explain(what, error, { signal });
        if (signal.aborted || !hasCode(failure, 'UNAVAILABLE')) throw failure;
      }
      await interruptible(pause, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw signal.reason;
    }
  }

  /** As {@link call}, for calls that stream: the time is for all of it. */
  async *each<T>(what: string, make: (options: CallOptions) => AsyncIterable<T>): AsyncIterable<T> {
    await this.#connected();
    try {
      yield* make({ timeout: this.#settings.timeout * 1000 });
    } catch (error) {
      throw this.explain(what, error);
    }
  }

  /** An answer that cannot be true. */
  lie(what: string): KeelsonError {
    return dataLoss(`proxy plugin "${this.name}" ${what}`, { remedy: 'it is broken: ask its makers' });
  }

  /** `signal`: by which the caller may have cancelled; a call that nobody cancelled was let go by a process that ends. */
  explain(what: string, error: unknown, { signal, seconds = this.#settings.timeout }: Made = {}): unknown {
    if (!isExpected(error)) return error;
    const doing = `proxy plugin "${this.name}", ${what}`;
    if (hasCode(error, 'CANCELED') && signal?.aborted !== true)
      return unavailable(`${doing}: the process has let go of the call`, { cause: error });
    if (hasCode(error, 'DEADLINE_EXCEEDED'))
      return deadlineExceeded(`${doing}: no answer within ${seconds} s`, { cause: error });
    return new KeelsonError(error.code, `${doing}: ${error.message}`, { cause: error });
  }

  close(): void {
    this.#closing.abort(unavailable(`proxy plugin "${this.name}" stops`));
    this.#channel.close();
  }

  async #connected(): Promise<void> {
    const { address, connect_timeout: seconds } = this.#settings;
    if (await this.#channel.ready(seconds * 1000)) return;
    const remedy = 'start the process that serves it';
    throw unavailable(`proxy plugin "${this.name}" does not answer at "${address}"`, { remedy });
  }
}
