/** What snapshotter-worker.ts says it does, and what must be true of the snapshots after it died. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { withMounts } from '../../lib/linux/mount.js';
import { openBtrfs } from '../../plugins/snapshot-btrfs/btrfs.js';
import { openOverlay } from '../../plugins/snapshot-overlay/overlay.js';
import { openVfs } from '../../plugins/snapshot-vfs/vfs.js';

export const KINDS = ['overlay', 'vfs', 'btrfs'] as const;
export type Kind = (typeof KINDS)[number];

const change = z.discriminatedUnion('change', [
  z.object({ change: z.literal('prepare'), key: z.string(), parent: z.string() }),
  z.object({ change: z.literal('commit'), key: z.string(), name: z.string() }),
  z.object({ change: z.literal('remove'), key: z.string() }),
]);
const step = z.union([change, z.object({ done: z.literal(true) })]);

export type Change = z.infer<typeof change>;
export type Step = z.infer<typeof step>;

/** Steps of a worker's output; a line that was cut off when it died is none. */
export function parseSteps(output: string): Step[] {
  const whole = output.slice(0, output.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => step.parse(JSON.parse(line)));
}

export function openKind(kind: Kind, root: string): Promise<Snapshotter & { close(): Promise<void> }> {
  const warn = (message: string, error: unknown): void => console.error(message, error);
  if (kind === 'overlay') return openOverlay(root, { options: ['index=off'], warn });
  return kind === 'vfs' ? openVfs(root, { warn }) : openBtrfs(root, { warn });
}

interface Known {
  readonly kind: 'active' | 'committed';
  readonly parent: string;
  /** The keys whose files must be in it, its ancestors' included. */
  readonly files: readonly string[];
}

type State = ReadonlyMap<string, Known>;

function apply(state: State, next: Change): State {
  const after = new Map(state);
  const own = state.get(next.key);
  after.delete(next.key);
  if (next.change === 'prepare') {
    const files = next.parent === '' ? [] : (state.get(next.parent)?.files ?? []);
    after.set(next.key, { kind: 'active', parent: next.parent, files });
  } else if (next.change === 'commit') {
    const { parent = '', files = [] } = own ?? {};
    after.set(next.name, { kind: 'committed', parent, files: [...files, next.key] });
  }
  return after;
}

/** The states that may be found: the last change counts as made or not when it was not acknowledged. */
export function possibleStates(steps: readonly Step[]): readonly [State] | readonly [State, State] {
  let state: State = new Map();
  let pending: Change | undefined;
  for (const next of steps) {
    if ('done' in next) {
      if (pending) state = apply(state, pending);
      pending = undefined;
    } else {
      pending = next;
    }
  }
  return pending ? [state, apply(state, pending)] : [state];
}

async function found(snapshotter: Snapshotter): Promise<Map<string, Pick<Known, 'kind' | 'parent'>>> {
  const infos = new Map<string, Pick<Known, 'kind' | 'parent'>>();
  for await (const { name, kind, parent } of snapshotter.walk()) {
    infos.set(name, { kind: kind === 'committed' ? kind : 'active', parent });
  }
  return infos;
}

const shown = (state: ReadonlyMap<string, Pick<Known, 'kind' | 'parent'>>): string[] =>
  [...state].map(([name, { kind, parent }]) => `${name} (${kind}, on "${parent}")`).sort();

/** Opens what a worker left and checks everything that was promised. */
export async function checkLeft(kind: Kind, root: string, work: string, steps: readonly Step[]): Promise<void> {
  const snapshotter = await openKind(kind, root);
  try {
    const infos = await found(snapshotter);
    const states = possibleStates(steps);
    const state = states.find((one) => shown(one).join() === shown(infos).join());
    assert.ok(state, `found ${shown(infos).join('\n')}\nexpected one of ${states.map(shown).join('\nor ')}`);
    await snapshotter.cleanup();
    assert.equal(readdirSync(join(root, 'snapshots')).length, infos.size, 'directories, one for each snapshot');
    for (const [name, known] of state) {
      if (known.kind !== 'committed') continue;
      const mounts = await snapshotter.view('look', name);
      const files = await withMounts(mounts, (path) => readdirSync(path), { directory: work });
      assert.deepEqual(files.sort(), [...known.files].sort(), `files of ${name}`);
      await snapshotter.remove('look');
    }
    // And it can be used as before.
    await snapshotter.prepare('afterwards', '');
    await snapshotter.commit('afterwards committed', 'afterwards');
    await snapshotter.remove('afterwards committed');
    await snapshotter.cleanup();
    assert.equal(readdirSync(join(root, 'snapshots')).length, infos.size);
  } finally {
    await snapshotter.close();
  }
}
