/** Wiring mistakes that must not compile. The compiler is the test runner: an unused expectation is an error. */
import { z } from 'zod';
import { definePlugin, many, one, type Plugin, PluginReport } from './index.js';
import type { Missing } from './plan.js';

/** A set with a hole does not compile, and the compiler names the service: `nobodyProvides: Token<ContentStore, "one">`. */
const complete = <const S extends readonly Plugin[]>(
  ...set: [Missing<S>] extends [never] ? S : [{ nobodyProvides: Missing<S> }]
): readonly unknown[] => set;

interface Reader {
  read(): string;
}
interface Writer {
  write(text: string): void;
}
const Readers = one<Reader>('type-test-reader@1');
const Writers = one<Writer>('type-test-writer@1');
const Drivers = many<Reader>('type-test-driver@1');

const reader: Reader = { read: () => '' };
const writer: Writer = { write: () => {} };
const blank = (id: string) =>
  ({ id, api: 1, wire: { type: 'test', id }, config: z.object({ size: z.number() }).strict() }) as const;

export const provider = definePlugin({
  ...blank('provider'),
  requires: {},
  provides: { reader: Readers },
  start: async () => ({ reader }),
});

export const consumer = definePlugin({
  ...blank('consumer'),
  requires: { reader: Readers, drivers: Drivers, report: PluginReport },
  provides: { writer: Writers },
  async start({ deps, config }) {
    deps.reader.read();
    for (const [id, driver] of deps.drivers) id.concat(driver.read());
    deps.report.plugins();
    config.size.toFixed();
    return { writer };
  },
});

export const undeclared = definePlugin({
  ...blank('undeclared'),
  requires: {},
  provides: {},
  async start({ deps }) {
    // @ts-expect-error a dependency that `requires` does not name
    deps.reader.read();
    return {};
  },
});

export const missing = definePlugin({
  ...blank('missing'),
  requires: {},
  provides: { reader: Readers },
  // @ts-expect-error returns nothing for "reader"
  start: async () => ({}),
});

export const wrong = definePlugin({
  ...blank('wrong'),
  requires: {},
  provides: { reader: Readers },
  // @ts-expect-error returns a writer where a reader is promised
  start: async () => ({ reader: writer }),
});

export const swapped = definePlugin({
  ...blank('swapped'),
  requires: { reader: Writers },
  provides: {},
  async start({ deps }) {
    // @ts-expect-error the token is the writer's
    deps.reader.read();
    return {};
  },
});

export const unread = definePlugin({
  ...blank('unread'),
  requires: { drivers: Drivers },
  provides: {},
  async start({ deps }) {
    // @ts-expect-error a map of readers is no reader
    deps.drivers.read();
    // @ts-expect-error a consumer adds nothing to the map
    deps.drivers.set('x', reader);
    return {};
  },
});

export const unset = definePlugin({
  ...blank('unset'),
  requires: {},
  provides: {},
  async start({ config }) {
    // @ts-expect-error a setting that the schema does not have
    config.length.toFixed();
    return {};
  },
});

export const otherApi = definePlugin({
  ...blank('other-api'),
  // @ts-expect-error an API version that this kernel does not speak
  api: 2,
  requires: {},
  provides: {},
  start: async () => ({}),
});

export const whole = complete(provider, consumer);

// @ts-expect-error nobodyProvides: Token<Reader, "one">
export const hole = complete(consumer);

export const manyMayBeEmpty = complete(unread);
