/** One life of a store that is killed: checks what it finds, then pulls, deletes, commits and collects until it ends. */
import { writeSync } from 'node:fs';
import { Content } from '../../kernel/contracts/content.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector } from '../../kernel/contracts/leases.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { digestOf } from '../../lib/digest.js';
import { startTestKernel, type TestKernel } from '../harness/kernel.js';
import { PULL_PLUGINS } from './pull.js';
import { randomSource } from './random.js';
import { StoreCheck } from './store-check.js';
import {
  COMMITS,
  commitName,
  type Deed,
  type Line,
  type Plan,
  type Presence,
  SCOPE,
  SNAPSHOTTER,
} from './store-plan.js';

/** Written at once: what was said before the kill must have been said. */
const say = (line: Line): void => void writeSync(1, `${JSON.stringify(line)}\n`);

const ROOT = { 'containerd.io/gc.root': '1' };

class Life {
  readonly #kernel: TestKernel;
  readonly #plan: Plan;
  readonly #random: () => number;
  readonly #there: Map<string, Presence>;

  constructor(kernel: TestKernel, plan: Plan, there: ReadonlyMap<string, Presence>) {
    this.#kernel = kernel;
    this.#plan = plan;
    this.#random = randomSource(plan.seed);
    this.#there = new Map(there);
  }

  async run(): Promise<never> {
    for (;;) {
      const choice = this.#below(10);
      if (choice < 5) await this.#image(this.#below(this.#plan.images.length));
      else if (choice < 8) await this.#own(this.#below(COMMITS));
      else await this.#collect();
    }
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async #collect(): Promise<void> {
    say({ event: 'begins', deed: 'collect' });
    await this.#kernel.get(GarbageCollector).collect();
    say({ event: 'answered' });
  }

  async #change(deed: Deed, what: string, presence: Presence, work: () => Promise<unknown>): Promise<void> {
    say({ event: 'begins', deed, what });
    await work();
    this.#there.set(what, presence);
    say({ event: 'answered', what, presence });
  }

  /** Pulls it, or deletes it when it is there. */
  async #image(index: number): Promise<void> {
    const reference = this.#plan.images[index]?.reference ?? '';
    if (this.#there.get(reference) === 'present') {
      const sync = this.#below(2) === 0;
      await this.#change('delete', reference, 'absent', () =>
        this.#kernel.get(Images).delete(SCOPE, reference, { sync }),
      );
      return;
    }
    const options = { unpack: [{ snapshotter: SNAPSHOTTER }] };
    await this.#change('pull', reference, 'present', () =>
      this.#kernel.get(Distribution).pull(SCOPE, reference, options),
    );
  }

  /** Commits a blob and a snapshot, or removes them. */
  async #own(index: number): Promise<void> {
    const name = commitName(index);
    const [content, snapshots] = [this.#kernel.get(Content), this.#kernel.get(Snapshots)];
    const bytes = Buffer.from(name);
    if (this.#there.get(name) === 'present') {
      await this.#change('remove', name, 'absent', async () => {
        await snapshots.remove(SCOPE, SNAPSHOTTER, name);
        await content.delete(SCOPE, digestOf(bytes));
      });
      return;
    }
    await this.#change('commit', name, 'present', async () => {
      const writer = await content.writer(SCOPE, { ref: name });
      await writer.write(bytes);
      await writer.commit({ labels: ROOT });
      await snapshots.prepare(SCOPE, SNAPSHOTTER, `making ${name}`, '');
      await snapshots.commit(SCOPE, SNAPSHOTTER, name, `making ${name}`, { labels: ROOT });
    });
  }
}

async function live(directory: string, plan: Plan): Promise<void> {
  try {
    const differs = plan.sync === undefined ? {} : { sync: plan.sync };
    const config = { distribution: { hosts_directories: [] }, differs };
    const kernel = await startTestKernel({ plugins: PULL_PLUGINS, config, directory });
    const there = await new StoreCheck(kernel, plan).run();
    say({ event: 'verified' });
    await new Life(kernel, plan, there).run();
  } catch (error) {
    say({ event: 'wrong', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(1);
  }
}

const [, program = '', directory = '', plan = ''] = process.argv;
if (program === import.meta.filename) await live(directory, JSON.parse(plan));
