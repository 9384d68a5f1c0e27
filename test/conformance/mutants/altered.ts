/** A sound object seen through a wrapper in which some of its members are replaced. */
export function altered<T extends object>(sound: T, replaced: Partial<T>): T {
  return new Proxy(sound, {
    get(target, name) {
      if (Object.hasOwn(replaced, name)) return Reflect.get(replaced, name);
      const value: unknown = Reflect.get(target, name);
      // private members are looked up on the object itself, not on the wrapper
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
