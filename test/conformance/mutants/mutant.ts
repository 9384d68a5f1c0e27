/**
 * Kits judged by what they must refuse: each is pointed at subjects of which one
 * behaviour is broken, and has to say so in the check that is about it.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type CheckResult, CollectingRunner } from '../collect.js';
import type { Runner } from '../runner.js';

/** A subject of a kit with one behaviour broken. */
export interface Mutant<S> {
  /** What is broken. */
  readonly title: string;
  /** Matches the titles, from the kit down, of the checks that are to fail. */
  readonly caughtBy: RegExp;
  readonly subject: () => S | Promise<S>;
}

type Kit<S> = (runner: Runner, subject: S) => void;

const ENOUGH = 10;

const titleOf = ({ path }: Pick<CheckResult, 'path'>): string => path.join(': ');

/** Runs the checks of the kit whose titles match, until one fails. */
async function judge<S>(kit: Kit<S>, subject: S, checks: readonly RegExp[]): Promise<CheckResult[]> {
  const runner = new CollectingRunner();
  kit(runner, subject);
  const results: CheckResult[] = [];
  for await (const result of runner.run((path) => checks.some((check) => check.test(titleOf({ path }))))) {
    results.push(result);
    if (result.outcome === 'fail') break;
  }
  return results;
}

/**
 * Declares tests: the kit passes the sound subject, so that only the mutation can be what fails each mutant.
 * `soundIn`: every check, or, of a kit that takes long and judges that subject elsewhere, those that catch a mutant.
 */
export function mutantsAreCaught<S>(
  kit: Kit<S>,
  sound: () => S | Promise<S>,
  mutants: readonly Mutant<S>[],
  { soundIn = 'every check' }: { readonly soundIn?: 'every check' | 'those that catch' } = {},
): void {
  it(`meets ${ENOUGH} mutants or more, each of its own kind`, () => {
    assert.ok(new Set(mutants.map(({ title }) => title)).size >= ENOUGH);
  });

  it(`passes the subject that is sound: ${soundIn}`, async () => {
    const checks = soundIn === 'every check' ? [/./] : mutants.map(({ caughtBy }) => caughtBy);
    const results = await judge(kit, await sound(), checks);
    assert.ok(results.length > 0, 'the kit checks nothing');
    // a skipped check would have caught nothing either
    const others = results.filter(({ outcome }) => outcome !== 'pass');
    assert.deepEqual(
      others.map((result) => `${result.outcome}: ${titleOf(result)}: ${result.reason}`),
      [],
    );
  });

  for (const { title, caughtBy, subject } of mutants) {
    it(`catches: ${title}`, async (context) => {
      const results = await judge(kit, await subject(), [caughtBy]);
      assert.ok(results.length > 0, `no check is called ${caughtBy}`);
      const caught = results.find(({ outcome }) => outcome === 'fail');
      assert.ok(caught, `the mutant passes ${results.map(titleOf).join('; ')}`);
      context.diagnostic(`${titleOf(caught)}: ${caught.reason.split('\n')[0]}`);
    });
  }
}
