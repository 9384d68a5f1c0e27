/**
 * Typed names of services: what plugins require and provide, and what the kernel wires. A token is plain data; its
 * type parameter exists only at compile time.
 */
declare const shape: unique symbol;

export type Arity = 'one' | 'many';

export interface Token<T, A extends Arity = Arity> {
  /** `service@version`, unique among all contracts. */
  readonly id: string;
  /** Process-wide symbol, so that two copies of this module agree. */
  readonly key: symbol;
  readonly arity: A;
  /** Keeps `T` invariant; never present at run time. */
  readonly [shape]?: (value: T) => T;
}

const token = <T, A extends Arity>(id: string, arity: A): Token<T, A> =>
  Object.freeze({ id, key: Symbol.for(`keelson/${id}`), arity });

/** A service that exactly one plugin provides. */
export const one = <T>(id: string): Token<T, 'one'> => token<T, 'one'>(id, 'one');

/**
 * A service that any number of plugins provide. A consumer receives a live, read-only map from the provider's wire id
 * (`overlayfs`) to the service: look up at the time of the call and keep no copy, since plugins come and go; who must
 * keep something watches the map.
 */
export const many = <T>(id: string): Token<T, 'many'> => token<T, 'many'>(id, 'many');
