/** A test runner for the command line: kits register their checks with it, and it runs them one after another. */
import { messageOf } from '../../kernel/errors.js';
import type { Runner, TestContext } from './runner.js';

export interface CheckResult {
  /** Titles from the kit down to the check. */
  readonly path: readonly string[];
  readonly outcome: 'pass' | 'fail' | 'skip';
  /** Why it failed or was skipped. */
  readonly reason: string;
  readonly millis: number;
}

interface Check {
  readonly path: readonly string[];
  readonly body: (context: TestContext) => Promise<void>;
}

export class CollectingRunner implements Runner {
  readonly #checks: Check[] = [];
  #path: readonly string[] = [];
  readonly #timeout: number;

  /** `timeout`: milliseconds after which a check counts as failed. */
  constructor(timeout = 120_000) {
    this.#timeout = timeout;
  }

  describe(title: string, body: () => void): void {
    const outer = this.#path;
    this.#path = [...outer, title];
    body();
    this.#path = outer;
  }

  it(title: string, body: Check['body']): void {
    this.#checks.push({ path: [...this.#path, title], body });
  }

  get count(): number {
    return this.#checks.length;
  }

  /** Runs the checks whose titles match, in the order in which they were registered. */
  async *run(matching: (path: readonly string[]) => boolean = () => true): AsyncGenerator<CheckResult> {
    for (const check of this.#checks) if (matching(check.path)) yield await this.#runOne(check);
  }

  async #runOne({ path, body }: Check): Promise<CheckResult> {
    const begin = performance.now();
    let skipped: string | undefined;
    const skip = (reason = ''): void => {
      skipped = reason;
    };
    const done = (outcome: CheckResult['outcome'], reason = ''): CheckResult => ({
      path,
      outcome,
      reason,
      millis: Math.round(performance.now() - begin),
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const tell = (): void => reject(new Error(`it still runs after ${this.#timeout / 1000} s`));
      timer = setTimeout(tell, this.#timeout);
    });
    try {
      await Promise.race([body({ skip }), late]);
      return skipped === undefined ? done('pass') : done('skip', skipped);
    } catch (error) {
      return done('fail', messageOf(error));
    } finally {
      clearTimeout(timer);
    }
  }
}
