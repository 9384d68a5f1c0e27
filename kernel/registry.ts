/** The table of running services: the only file that knows InversifyJS. */
import 'reflect-metadata/lite';
import { Container } from 'inversify';
import { notFound } from './errors.js';
import type { Tokens } from './plugin.js';
import type { Arity, Token } from './token.js';

/** A view of a map that shows its changes and allows none. */
class LiveMap<V> implements ReadonlyMap<string, V> {
  readonly #map: ReadonlyMap<string, V>;

  constructor(map: ReadonlyMap<string, V>) {
    this.#map = map;
  }
  get size(): number {
    return this.#map.size;
  }
  get(key: string): V | undefined {
    return this.#map.get(key);
  }
  has(key: string): boolean {
    return this.#map.has(key);
  }
  keys(): MapIterator<string> {
    return this.#map.keys();
  }
  values(): MapIterator<V> {
    return this.#map.values();
  }
  entries(): MapIterator<[string, V]> {
    return this.#map.entries();
  }
  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.#map.entries();
  }
  forEach(each: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.#map) each(value, key, this);
  }
}

interface Many<T> {
  readonly services: Map<string, T>;
  readonly view: LiveMap<T>;
}

export class Registry {
  readonly #table = new Container();

  /** `key` is the provider's wire id, which matters to a `many` only. */
  offer<T>(token: Token<T, Arity>, key: string, service: T): void {
    if (token.arity === 'one') this.#table.bind<T>(token.key).toConstantValue(service);
    else this.#many(token).services.set(key, service);
  }

  withdraw<T>(token: Token<T, Arity>, key: string): void {
    if (token.arity === 'many') this.#many(token).services.delete(key);
    else if (this.#table.isBound(token.key)) this.#table.unbind(token.key);
  }

  /** NOT_FOUND when no running plugin provides it. */
  one<T>(token: Token<T, Arity>): T {
    if (!this.#table.isBound(token.key)) throw notFound(`no running plugin provides "${token.id}"`);
    return this.#table.get<T>(token.key);
  }

  many<T>(token: Token<T, Arity>): ReadonlyMap<string, T> {
    return this.#many(token).view;
  }

  resolve(requires: Tokens): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(requires).map(([name, token]) => [
        name,
        token.arity === 'one' ? this.one(token) : this.many(token),
      ]),
    );
  }

  #many<T>(token: Token<T, Arity>): Many<T> {
    if (!this.#table.isBound(token.key)) {
      const services = new Map<string, T>();
      this.#table.bind<Many<T>>(token.key).toConstantValue({ services, view: new LiveMap(services) });
    }
    return this.#table.get<Many<T>>(token.key);
  }
}
