/**
 * The test runner behind test/run.sh: unit tests, then end-to-end tests, then
 * the leak check, as one run of node:test with one summary at the very end.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { isErrno } from '../lib/errno.js';
import { processesOf, RUN_VARIABLE, type TestRun, traces } from './harness/leaks.js';

/** Milliseconds that a single test, or a file of them, may take on a slow machine. */
const TEST_TIMEOUT = 400_000;
/** Milliseconds that the whole run may take. */
const RUN_TIMEOUT = 28 * 60_000;
const CONCURRENCY = 2;
/** Of the test data's filesystem; it takes only the memory that is written. */
const DISK_SIZE = '12G';

/** Tests that were compiled from a source that still exists. */
function compiledTests(): string[] {
  return globSync('dist/**/*.test.js')
    .filter((path) => existsSync(path.replace(/^dist\//, '').replace(/\.js$/, '.ts')))
    .sort();
}

/** The batches of a run, in order; files of one batch run side by side. */
function batches(chosen: readonly string[]): string[][] {
  const files = chosen.length > 0 ? [...chosen] : compiledTests();
  const isEndToEnd = (path: string): boolean => path.startsWith('dist/test/e2e/');
  return [files.filter((path) => !isEndToEnd(path)), files.filter(isEndToEnd), ['dist/test/last/leaks.js']].filter(
    (batch) => batch.length > 0,
  );
}

type TestEvent = { readonly type: string; readonly data: unknown };
type Diagnostic = { readonly nesting: number; readonly message: string };

const isDiagnostic = (data: unknown): data is Diagnostic =>
  typeof data === 'object' &&
  data !== null &&
  'nesting' in data &&
  'message' in data &&
  typeof data.message === 'string';

/** The runner's closing lines (`tests 5`, `pass 5`, ...), added up over the batches. */
class Summary {
  readonly #totals = new Map<string, number>();

  /** True when the event is such a line and has been counted. */
  takes({ type, data }: TestEvent): boolean {
    if (type !== 'test:diagnostic' || !isDiagnostic(data) || data.nesting !== 0) return false;
    const [, name, value] =
      /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(data.message) ?? [];
    if (name === undefined) return false;
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + Number(value));
    return true;
  }

  *events(): Generator<TestEvent> {
    for (const [name, value] of this.#totals) {
      yield { type: 'test:diagnostic', data: { nesting: 0, message: `${name} ${value}`, level: 'info' } };
    }
  }

  get failed(): boolean {
    return ['fail', 'cancelled'].some((name) => (this.#totals.get(name) ?? 0) > 0) || !this.#totals.get('tests');
  }
}

async function* results(files: readonly string[][], summary: Summary, signal: AbortSignal): AsyncGenerator<TestEvent> {
  for (const batch of files) {
    const events = run({
      files: batch.map((path) => resolve(path)),
      concurrency: CONCURRENCY,
      timeout: TEST_TIMEOUT,
      signal,
    });
    for await (const event of events) {
      if (!summary.takes(event)) yield event;
    }
  }
}

const print = (events: Iterable<TestEvent> | AsyncIterable<TestEvent>): Promise<void> =>
  pipeline(Readable.from(events), new spec(), process.stdout, { end: false });

/**
 * A fresh ext4 on a file in memory: quick, with every feature of a disk's
 * filesystem (extended attributes of users are missing on the tmpfs of older
 * kernels), and nothing on it can outlive the run.
 */
function mountTestDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'keelson-run-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0711,size=90%', 'keelson-test', path]);
  const disk = join(path, 'disk');
  execFileSync('truncate', ['--size', DISK_SIZE, disk]);
  execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', '-m', '0', disk]);
  const directory = join(path, 't');
  mkdirSync(directory);
  execFileSync('mount', ['-o', 'loop,discard', disk, directory]);
  return path;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It has ended by itself meanwhile.
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** Ends what still runs, which the leak check has told or an interrupt has left, and removes the directory. */
async function removeTestDirectory(path: string, testRun: TestRun): Promise<void> {
  for (const { pid } of await processesOf(testRun)) kill(pid);
  execFileSync('umount', ['--lazy', join(path, 't')]);
  execFileSync('umount', ['--lazy', path]);
  rmSync(path, { recursive: true });
}

/** Aborts on the first Ctrl-C or SIGTERM; the second one kills. */
function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
  return controller.signal;
}

async function main(): Promise<boolean> {
  const place = mountTestDirectory();
  const directory = join(place, 't');
  const testRun: TestRun = { directory, id: `${process.pid}-${Date.now()}` };
  try {
    const baseline = join(directory, 'baseline.json');
    writeFileSync(baseline, JSON.stringify(await traces(testRun)));
    process.env.KEELSON_TEST_DIR = directory;
    process.env.KEELSON_TEST_BASELINE = baseline;
    process.env[RUN_VARIABLE] = testRun.id;
    // What a kit cannot run on this host is a failure: everything it needs was installed.
    process.env.KEELSON_CONFORMANCE_REQUIRED = '1';

    const summary = new Summary();
    const stop = AbortSignal.any([AbortSignal.timeout(RUN_TIMEOUT), interrupted()]);
    await print(results(batches(process.argv.slice(2)), summary, stop));
    await print(summary.events());
    return !summary.failed && !stop.aborted;
  } finally {
    await removeTestDirectory(place, testRun);
  }
}

process.exitCode = (await main()) ? 0 : 1;
