/** Differs with one behaviour broken each: the differ of the tree, with calls replaced or the archives changed. */
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { AppliedLayer, ApplyLayer, Differ, LayerSink } from '../../../kernel/contracts/diff.js';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { hasCode } from '../../../kernel/errors.js';
import { digestOf } from '../../../lib/digest.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../../lib/oci/media-types.js';
import { readBlob } from '../../harness/blob.js';
import { scratch } from '../../harness/scratch.js';
import { TestDiffer } from '../../harness/unpack.js';
import { dir } from '../../hostile/tar.js';
import type { DifferSubject, OpenDiffer } from '../differ.js';
import { altered } from './altered.js';
import { archiveOf, changed, type Part, partsOf, partsOfBlocks } from './archive.js';
import type { Mutant } from './mutant.js';

const scope = { namespace: 'kit' };

async function openSound(): Promise<OpenDiffer> {
  const directory = await scratch('diff');
  const mounts = join(directory.path, 'm');
  mkdirSync(mounts);
  const { differ, content, pool } = new TestDiffer({}, mounts);
  return {
    differ,
    read: ({ digest }) => readBlob(content, scope, digest),
    async close() {
      await pool.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

export const soundDiffer: DifferSubject = {
  name: 'diff',
  unavailable: async () => undefined,
  encodings: { [OCI_LAYER]: (archive) => archive, [OCI_LAYER_GZIP]: (archive) => gzipSync(archive, { level: 1 }) },
  can: { compare: true, detach: true, explainRefusals: true, reproduce: true, clampTimes: true },
  open: openSound,
};

const mutant = (title: string, caughtBy: RegExp, change: (opened: OpenDiffer) => Partial<OpenDiffer>) => ({
  title,
  caughtBy,
  subject: (): DifferSubject => ({
    ...soundDiffer,
    async open() {
      const opened = await openSound();
      return { ...opened, ...change(opened) };
    },
  }),
});

const ofCalls = (title: string, caughtBy: RegExp, change: (differ: Differ) => Partial<Differ>): Mutant<DifferSubject> =>
  mutant(title, caughtBy, ({ differ }) => ({ differ: altered(differ, change(differ)) }));

const ofSinks = (title: string, caughtBy: RegExp, change: (sink: LayerSink, layer: ApplyLayer) => Partial<LayerSink>) =>
  ofCalls(title, caughtBy, (differ) => ({
    async open(layer) {
      const sink = await differ.open(layer);
      return altered(sink, change(sink, layer));
    },
  }));

/** The directory into which a layer of the kit goes. */
const rootOf = ({ mounts }: ApplyLayer): string => mounts[0]?.source ?? '';

const decoded = (mediaType: string, bytes: Buffer): Buffer =>
  mediaType === OCI_LAYER_GZIP ? gunzipSync(bytes) : bytes;

/** A sink that keeps the bytes, and hands them all to `finish` in the end. */
function keeping(finish: (bytes: Buffer) => Promise<AppliedLayer>): LayerSink {
  const chunks: Buffer[] = [];
  return {
    write: async (chunk) => void chunks.push(Buffer.from(chunk)),
    end: () => finish(Buffer.concat(chunks)),
    abort: async () => void chunks.splice(0),
  };
}

async function unpack(differ: Differ, layer: ApplyLayer, parts: readonly Part[]): Promise<AppliedLayer> {
  const sink = await differ.open({ ...layer, mediaType: OCI_LAYER });
  try {
    await sink.write(archiveOf(parts));
    return await sink.end();
  } finally {
    await sink.abort();
  }
}

type Reading = (parts: readonly Part[], layer: ApplyLayer) => readonly Part[] | readonly (readonly Part[])[];

const isSplit = (parts: ReturnType<Reading>): parts is readonly (readonly Part[])[] => Array.isArray(parts[0]);

/** Another archive is unpacked than the one that was given, or several in a row; what is told is of the one given. */
const unpackingAs = (differ: Differ, read: Reading): Pick<Differ, 'open'> => ({
  async open(layer) {
    if (soundDiffer.encodings[layer.mediaType] === undefined) return differ.open(layer);
    return keeping(async (bytes) => {
      const archive = decoded(layer.mediaType, bytes);
      const parts = read(partsOf(archive), layer);
      for (const each of isSplit(parts) ? parts : [parts]) await unpack(differ, layer, each);
      return { diffId: digestOf(archive), size: archive.length, unresolved: false };
    });
  },
});

const ofArchives = (title: string, caughtBy: RegExp, read: Reading): Mutant<DifferSubject> =>
  ofCalls(title, caughtBy, (differ) => unpackingAs(differ, read));

const ofParts = (title: string, caughtBy: RegExp, change: (part: Part, all: readonly Part[]) => readonly Part[]) =>
  ofArchives(title, caughtBy, (parts) => parts.flatMap((part) => change(part, parts)));

/** `compare` makes another layer of what it should make. */
function comparingAs({ differ, read }: OpenDiffer, change: (parts: readonly Part[]) => readonly Part[]) {
  const made = new Map<string, Buffer>();
  const compare: Differ['compare'] = async (place, trees) => {
    const layer = await differ.compare(place, trees);
    const archive = archiveOf(change(partsOf(decoded(layer.mediaType, await read(layer)))));
    const bytes = layer.mediaType === OCI_LAYER_GZIP ? gzipSync(archive) : archive;
    const digest = digestOf(bytes);
    made.set(digest, bytes);
    return { ...layer, digest, size: bytes.length };
  };
  return { compare, read: async (layer: Descriptor) => made.get(layer.digest) ?? read(layer) };
}

const ofLayers = (title: string, caughtBy: RegExp, change: (parts: readonly Part[]) => readonly Part[]) =>
  mutant(title, caughtBy, (opened) => {
    const { compare, read } = comparingAs(opened, change);
    return { differ: altered(opened.differ, { compare }), read };
  });

/** Archives taken apart and put together again, with nothing changed: what mutants of archives have in common is sound. */
export const rewritingDiffer: DifferSubject = {
  ...soundDiffer,
  name: 'diff, its archives taken apart',
  can: { ...soundDiffer.can, detach: false },
  async open() {
    const opened = await openSound();
    const { compare, read } = comparingAs(opened, (parts) => parts);
    const { open } = unpackingAs(opened.differ, (parts) => parts);
    return { ...opened, differ: { open, compare }, read };
  },
};

const OPAQUE = '.wh..wh..opq';
const isOpaque = ({ name }: Part): boolean => name.endsWith(OPAQUE);
const isWhiteout = (part: Part): boolean => /(^|\/)\.wh\./.test(part.name) && !isOpaque(part);
const isDevice = ({ flag }: Part): boolean => flag === '3' || flag === '4';
const isHardlink = ({ flag }: Part): boolean => flag === '1';

/** A copy of what a hard link leads to. */
const copied = (link: Part, all: readonly Part[]): Part => {
  const target = all.find(({ name, flag }) => name === link.link && flag === '0');
  return changed(link, { flag: '0', data: target?.data ?? Buffer.alloc(0) });
};

const replacedText = (part: Part, from: string, to: string): Part =>
  changed(part, { data: Buffer.from(part.data.toString('latin1').replaceAll(from, to), 'latin1') });

/** Directories that are only implied, made before all else and for their owner alone. */
function withPrivateParents(parts: readonly Part[]): readonly Part[] {
  const implied = new Set<string>();
  for (const { name } of parts) {
    const steps = name.split('/').slice(0, -1);
    for (const index of steps.keys()) implied.add(`${steps.slice(0, index + 1).join('/')}/`);
  }
  for (const { name, flag } of parts) if (flag === '5') implied.delete(name);
  return [...[...implied].sort().flatMap((name) => partsOfBlocks(dir(name, { mode: 0o700 }))), ...parts];
}

/** What stands before an opaque mark is a layer of its own, on which the mark then works. */
function splitAtMarks(parts: readonly Part[]): readonly (readonly Part[])[] {
  const at = parts.findIndex(isOpaque);
  return at < 0 ? [parts] : [parts.slice(0, at), parts.slice(at)];
}

const attempt = (work: () => void): void => {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
};

/** Names are joined to the root, however they climb. */
const climbing: Reading = (parts, layer) => {
  for (const { name, data } of parts)
    if (name.includes('..')) attempt(() => writeFileSync(join(rootOf(layer), name), data));
  return parts;
};

/** Symbolic links of the layer are followed wherever they lead. */
const following: Reading = (parts) => {
  const links = parts.filter(({ flag }) => flag === '2');
  for (const { name, data } of parts)
    for (const link of links.filter((each) => name.startsWith(`${each.name}/`)))
      attempt(() => writeFileSync(join(link.link, name.slice(link.name.length)), data));
  return parts.filter((part) => links.every(({ name }) => !part.name.startsWith(`${name}/`)));
};

/** Hard links lead to files of the host. */
const linkingOut: Reading = (parts, layer) => {
  for (const { name, link } of parts.filter(isHardlink))
    if (link.startsWith('/')) attempt(() => linkSync(link, join(rootOf(layer), name)));
  return parts.filter((part) => !isHardlink(part));
};

const KINDS = /makes kinds, modes, owners, links, devices and times/;
const DIFFERENCE = /makes a layer that turns the one tree into the other/;

export const differMutants: readonly Mutant<DifferSubject>[] = [
  ofSinks('the digest told is that of the compressed layer', /unpacks every media type/, (sink) => {
    const chunks: Buffer[] = [];
    return {
      async write(chunk) {
        chunks.push(Buffer.from(chunk));
        await sink.write(chunk);
      },
      end: async () => ({ ...(await sink.end()), diffId: digestOf(Buffer.concat(chunks)) }),
    };
  }),
  ofSinks('a chunk is unpacked after it was given back', /from a buffer that is used again/, (sink) => {
    let waiting: Uint8Array = new Uint8Array(0);
    return {
      async write(chunk) {
        const earlier = waiting;
        waiting = chunk;
        await sink.write(earlier);
      },
      async end() {
        await sink.write(waiting);
        return sink.end();
      },
    };
  }),
  ofParts('a hard link becomes a copy', KINDS, (part, all) => [isHardlink(part) ? copied(part, all) : part]),
  ofParts('setuid and sticky bits are dropped', KINDS, (part) => {
    const mode = Number.parseInt(part.header.toString('latin1', 100, 107), 8);
    return [changed(part, { mode: mode & 0o777 })];
  }),
  ofParts('all belongs to root', KINDS, (part) => [changed(part, { uid: 0, gid: 0 })]),
  ofParts('times are those of the unpacking', KINDS, (part) => [
    changed(part, { mtime: Math.floor(Date.now() / 1000) }),
  ]),
  ofParts('times are cut to the second', /keeps times to the nanosecond/, (part) => [
    part.flag === 'x' ? replacedText(part, 'mtime=', 'ntime=') : part,
  ]),
  ofParts('a device becomes a file', KINDS, (part) => [isDevice(part) ? changed(part, { flag: '0' }) : part]),
  ofParts('extended attributes are dropped', /keeps extended attributes/, (part) => [
    part.flag === 'x' ? replacedText(part, 'SCHILY.xattr.', 'SCHILY.xnone.') : part,
  ]),
  ofArchives(
    'implied directories are for their owner alone',
    /directories that an archive only implies/,
    withPrivateParents,
  ),
  ofParts('a whiteout is kept as a file', /removes what whiteouts name/, (part) => [
    isWhiteout(part) ? changed(part, { name: part.name.replace('.wh.', '.w-.') }) : part,
  ]),
  ofParts('opaque marks are ignored', /all that an opaque directory had/, (part) => (isOpaque(part) ? [] : [part])),
  ofArchives('an opaque mark removes what its own layer brought', /leaves what its own layer brings/, splitAtMarks),
  ofCalls('a promised digest is not checked', /refuses bytes of another digest/, (differ) => ({
    open: ({ digest: _promised, ...layer }) => differ.open(layer),
  })),
  ofSinks('an archive that breaks off counts as whole', /refuses a broken archive/, (sink) => ({
    end: () =>
      sink.end().catch((error: unknown) => {
        if (!hasCode(error, 'INVALID_ARGUMENT')) throw error;
        return { diffId: digestOf(Buffer.alloc(0)), size: 0, unresolved: false };
      }),
  })),
  ofCalls('an unknown media type is taken for a plain archive', /says UNIMPLEMENTED for a media type/, (differ) => ({
    open: (layer) =>
      differ.open(layer).catch((error: unknown) => {
        if (!hasCode(error, 'UNIMPLEMENTED')) throw error;
        return differ.open({ ...layer, mediaType: OCI_LAYER });
      }),
  })),
  ofSinks('a detached layer never needs its parents', /a detached layer says/, (sink) => ({
    end: async () => ({ ...(await sink.end()), unresolved: false }),
  })),
  ofCalls('a layer begins with an empty tree', /leaves alone what the layer does not name/, (differ) => ({
    async open(layer) {
      const root = rootOf(layer);
      rmSync(root, { recursive: true });
      mkdirSync(root);
      return differ.open(layer);
    },
  })),
  ofArchives('names climb out of the tree', /names that climb out stay inside/, climbing),
  ofArchives('links are followed out of the tree', /links of the same layer and of another/, following),
  ofArchives('hard links lead out of the tree', /hard links and links to them do not reach out/, linkingOut),
  ofLayers('a difference leaves deletions out', DIFFERENCE, (parts) => parts.filter((part) => !isWhiteout(part))),
  ofLayers('a difference holds copies in place of hard links', DIFFERENCE, (parts) =>
    parts.map((part) => (isHardlink(part) ? copied(part, parts) : part)),
  ),
  ofLayers('a difference holds no times', /keeps the times of what it holds/, (parts) =>
    parts.map((part) => changed(part, { mtime: 0 })),
  ),
  ofCalls('a difference holds what is the same', /makes an empty layer where nothing differs/, (differ) => ({
    async compare(place, { upper, ...more }) {
      await using nothing = await scratch('nothing');
      const lower = upper.map((mount) => ({ ...mount, source: nothing.path }));
      return await differ.compare(place, { ...more, lower, upper });
    },
  })),
  ofCalls('a fixed time is ignored', /takes a fixed time in the place/, (differ) => ({
    compare: (place, { sourceDateEpoch: _fixed, ...trees }) => differ.compare(place, trees),
  })),
  ofCalls('the media type asked for is ignored', /of the media type asked for/, (differ) => ({
    compare: (place, { mediaType: _asked, ...trees }) => differ.compare(place, trees),
  })),
];
