/** The table of running services: the only file that knows InversifyJS. */
import 'reflect-metadata/lite';
import { Container } from 'inversify';
import { failedPrecondition, notFound } from './errors.js';
import type { LiveMap, Tokens, Watcher } from './plugin.js';
import type { Token } from './token.js';

const refuse = (): never => {
  throw failedPrecondition('a map of services cannot be changed by those who use it');
};

/** Changed by its two static methods alone. */
class Services<T> extends Map<string, T> implements LiveMap<T> {
  readonly #watchers = new Set<Watcher<T>>();

  constructor() {
    super();
    Object.assign(this, { set: refuse, delete: refuse, clear: refuse });
  }
  watch(watcher: Watcher<T>): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  static add<T>(services: Services<T>, id: string, service: T): void {
    Map.prototype.set.call(services, id, service);
    for (const { added } of services.#watchers) added(id, service);
  }

  static async remove<T>(services: Services<T>, id: string): Promise<void> {
    const service = services.get(id);
    if (service === undefined) return;
    Map.prototype.delete.call(services, id);
    await Promise.all([...services.#watchers].map(({ removed }) => removed(id, service)));
  }
}

export class Registry {
  readonly #table = new Container();

  /** `id` is the provider's wire id, which matters to a `many` only. */
  offer<T>(token: Token<T>, id: string, service: T): void {
    if (token.arity === 'one') this.#table.bind<T>(token.key).toConstantValue(service);
    else Services.add(this.many(token), id, service);
  }

  /** Resolves when those who watch the map have let go of the service. */
  async withdraw<T>(token: Token<T>, id: string): Promise<void> {
    if (token.arity === 'many') await Services.remove(this.many(token), id);
    else if (this.#table.isBound(token.key)) this.#table.unbind(token.key);
  }

  many<T>(token: Token<T>): Services<T> {
    if (!this.#table.isBound(token.key)) this.#table.bind(token.key).toConstantValue(new Services<T>());
    return this.#table.get<Services<T>>(token.key);
  }

  /** NOT_FOUND when no running plugin provides it. */
  get<T>(token: Token<T>): T | Services<T> {
    if (token.arity === 'many') return this.many(token);
    if (!this.#table.isBound(token.key)) throw notFound(`no running plugin provides "${token.id}"`);
    return this.#table.get<T>(token.key);
  }

  resolve(requires: Tokens): Record<string, unknown> {
    return Object.fromEntries(Object.entries(requires).map(([name, token]) => [name, this.get(token)]));
  }
}
