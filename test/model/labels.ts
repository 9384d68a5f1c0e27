/** Random labels for the collector, each with what the model must know of it. */
import type { Labels } from '../../kernel/contracts/scope.js';
import { type Item, item } from './graph.js';
import type { Random } from './random.js';

export const SNAPSHOTTER = 'native';

/** What labels may name. */
export interface Vocabulary {
  readonly digests: readonly string[];
  readonly snapshots: readonly string[];
  readonly names: readonly string[];
}

const GC = 'containerd.io/gc.';
const HOUR = 3_600_000;

const iso = (millis: number): string => new Date(millis).toISOString();

interface Choice {
  readonly label: readonly [key: string, value: string];
  readonly item: Partial<Item>;
}

/** Names after a `.` or `/` tell labels of one kind apart; some carry none. */
const named = (random: Random, prefix: string): string =>
  `${GC}${prefix}${random.pick(['', '.l.0', '.config', '/x', '.m.17'])}`;

const ofSnapshotter = (random: Random, prefix: string): string =>
  `${GC}${prefix}.${SNAPSHOTTER}${random.pick(['', '/a', '/b/c'])}`;

type Maker = (random: Random, words: Vocabulary, now: number) => Choice;

const MAKERS: readonly Maker[] = [
  (random, { digests }) => {
    const digest = random.pick(digests);
    return { label: [named(random, 'ref.content'), digest], item: { references: [`content/${digest}`] } };
  },
  (random, { snapshots }) => {
    const key = random.pick(snapshots);
    const references = [`snapshot/${SNAPSHOTTER}/${key}`];
    return { label: [ofSnapshotter(random, 'ref.snapshot'), key], item: { references } };
  },
  (random, { names }) => {
    const name = random.pick(names);
    return { label: [named(random, 'ref.image'), name], item: { references: [`image/${name}`] } };
  },
  (random, { digests }) => {
    const digest = random.pick(digests);
    return { label: [named(random, 'bref.content'), digest], item: { owners: [`content/${digest}`] } };
  },
  (random, { names }) => {
    const kind = random.pick(['container', 'image']);
    const name = random.pick(names);
    return { label: [named(random, `bref.${kind}`), name], item: { owners: [`${kind}/${name}`] } };
  },
  (random, { snapshots }) => {
    const key = random.pick(snapshots);
    const owners = [`snapshot/${SNAPSHOTTER}/${key}`];
    return { label: [ofSnapshotter(random, 'bref.snapshot'), key], item: { owners } };
  },
  (random) => ({
    label: [`${GC}${random.pick(['root', 'root.reason'])}`, random.pick(['1', 'x'])],
    item: { root: true },
  }),
  // What only looks like a label of the collector's keeps nothing.
  (random, { digests }) => ({
    label: [
      random.pick([`${GC}ref.contents`, `${GC}ref`, 'gc.ref.content', `x${GC}ref.content`]),
      random.pick(digests),
    ],
    item: {},
  }),
];

function condition(random: Random, { snapshots }: Vocabulary): Choice {
  const key = random.pick(snapshots);
  const hours = random.pick([1, 5]);
  const snapshot = `snapshot/${SNAPSHOTTER}/${key}`;
  const label = `${GC}cond.snapshot.${SNAPSHOTTER}${random.pick(['', '/x'])}`;
  return {
    label: [label, `usedat<${hours}h|${key}`],
    item: { condition: { snapshot, within: hours * HOUR } },
  };
}

/** So that few things are roots, most refer to something, and some belong to something. */
const WEIGHTS = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 7];

export interface Labelled {
  readonly labels: Labels;
  readonly item: Item;
}

/** `kind`: containers and images are roots by themselves; images may expire, and like content depend on a condition. */
export function randomLabels(
  random: Random,
  words: Vocabulary,
  now: number,
  kind: 'content' | 'snapshot' | 'image' | 'container',
): Labelled {
  const choices: Choice[] = [];
  for (let count = random.below(3); count > 0; count -= 1) {
    const maker = MAKERS[random.pick(WEIGHTS)];
    if (maker) choices.push(maker(random, words, now));
  }
  const rooted = kind === 'content' || kind === 'snapshot';
  if (rooted && random.oneIn(16)) choices.push(...MAKERS.slice(6, 7).map((make) => make(random, words, now)));
  if (kind === 'image' && random.oneIn(3)) {
    const expires = now + random.pick([1, 2, 3, 12]) * HOUR;
    choices.push({ label: [`${GC}expire`, iso(expires)], item: { expires } });
  }
  if ((kind === 'image' || kind === 'content') && random.oneIn(10)) choices.push(condition(random, words));
  if (kind === 'snapshot' && random.oneIn(3)) {
    const usedAt = now - random.below(6) * HOUR;
    choices.push({ label: [`${GC}cond.value-usedat`, iso(usedAt)], item: { usedAt } });
  }
  // Of two labels with one key only the last counts.
  const distinct = [...new Map(choices.map((choice) => [choice.label[0], choice])).values()];
  const parts = distinct.map((choice) => choice.item);
  const merged: Item = {
    ...item(Object.assign({}, ...parts)),
    references: parts.flatMap(({ references = [] }) => references),
    owners: parts.flatMap(({ owners = [] }) => owners),
  };
  return { labels: Object.fromEntries(distinct.map(({ label }) => label)), item: merged };
}
