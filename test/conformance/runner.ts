/**
 * Conformance kits are functions that take the test runner, so that authors of
 * plugins call them from theirs: `node:test` and vitest both fit.
 */
import { messageOf } from '../../kernel/errors.js';

export interface TestContext {
  skip(reason?: string): void;
}

export interface Runner {
  describe(title: string, body: () => void): unknown;
  it(title: string, body: (context: TestContext) => Promise<void>): unknown;
}

/** What every kit wants to know of its subject. */
export interface Subject {
  /** Shown in titles. */
  readonly name: string;
  /** Why this host cannot run it, or undefined when it can. */
  unavailable(): Promise<string | undefined>;
}

/** Of a check that failed and left what could not be released, both. */
const reasonOf = (error: unknown): string =>
  error instanceof SuppressedError ? `${reasonOf(error.suppressed)}; then ${reasonOf(error.error)}` : messageOf(error);

/** Test runners show neither of the two. */
function tellBoth(error: unknown): never {
  if (error instanceof SuppressedError) throw new Error(reasonOf(error), { cause: error.suppressed });
  throw error;
}

/**
 * A check of a kit: skipped with the subject's reason where it cannot run. With
 * `KEELSON_CONFORMANCE_REQUIRED=1` such a skip is a failure.
 */
export function checkOf(runner: Runner, subject: Subject, title: string, body: () => Promise<void>): void {
  runner.it(title, async (context) => {
    const reason = await subject.unavailable();
    if (reason === undefined) return body().catch(tellBoth);
    if (process.env.KEELSON_CONFORMANCE_REQUIRED === '1') throw new Error(`${subject.name} cannot run here: ${reason}`);
    return context.skip(reason);
  });
}
