/** The API of April 2017, end to end: content, images, root filesystems and containers through its four services. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ContentDefinition, WriteStep } from '../../api/gen/classic/content.js';
import { ContainerServiceDefinition } from '../../api/gen/classic/execution.js';
import { ImagesDefinition } from '../../api/gen/classic/images.js';
import { RootFSDefinition } from '../../api/gen/classic/rootfs.js';
import { type Event, EventType } from '../../api/gen/classic/types.js';
import { Status } from '../../api/gen/types/task.js';
import { connect } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { applyChanges, defaultSpec, withArgs } from '../../lib/oci/runtime-spec.js';
import { packJson } from '../../lib/rpc/any.js';
import { eventually, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const config = '[plugins.api-classic]\nenabled = true\n';
const { daemon, image, own } = await startWorld(['busybox'], { kind: 'keelsond', config });
const namespace = own('classic');
const ctr = daemon.ctr(namespace);
const client = connect({ address: daemon.address, namespace });
after(() => client[Symbol.dispose]());
const content = client.service(ContentDefinition);
const images = client.service(ImagesDefinition);
const rootfs = client.service(RootFSDefinition);
const execution = client.service(ContainerServiceDefinition);
const directory = await scratch('classic');
after(() => directory[Symbol.asyncDispose]());

const NO_STREAMS = { stdin: '', stdout: '', stderr: '', terminal: false };
const SPEC = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
const PROCESS = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

async function blob(digest: string): Promise<string> {
  const pieces = await Array.fromAsync(content.read({ digest, offset: 0n, size: 0n }));
  return Buffer.concat(pieces.map(({ data }) => data)).toString();
}

const digestOf = (data: Uint8Array): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

test('content is written in steps, found, read in parts, and deleted', async () => {
  const data = Buffer.from('classic content');
  const digest = digestOf(data);
  const first = [
    { action: WriteStep.STAT, ref: 'one', total: BigInt(data.length) },
    { action: WriteStep.WRITE, offset: 0n, data: data.subarray(0, 7) },
  ];
  const begun = await Array.fromAsync(content.write(from(first)));
  assert.deepEqual(
    begun.map(({ offset }) => offset),
    [0n, 7n],
  );
  const [status] = await Array.fromAsync(content.status({ prefix: ['o'] }));
  assert.deepEqual([status?.ref, status?.offset], ['one', 7n]);
  assert.deepEqual(await Array.fromAsync(content.status({ prefix: ['x'] })), []);
  const rest = [
    { action: WriteStep.STAT, ref: 'one', total: BigInt(data.length) },
    { action: WriteStep.WRITE, offset: 7n, data: data.subarray(7) },
    { action: WriteStep.COMMIT, offset: BigInt(data.length), expected: digest },
  ];
  assert.equal((await Array.fromAsync(content.write(from(rest)))).at(-1)?.digest, digest);
  assert.equal((await content.info({ digest })).size, BigInt(data.length));
  assert.equal(await blob(digest), 'classic content');
  const [part] = await Array.fromAsync(content.read({ digest, offset: 8n, size: 4n }));
  assert.equal(Buffer.from(part?.data ?? []).toString(), 'cont');
  await content.delete({ digest });
  await assert.rejects(content.info({ digest }), (error) => hasCode(error, 'NOT_FOUND'));

  await Array.fromAsync(content.write(from([{ action: WriteStep.STAT, ref: 'two' }, { action: WriteStep.ABORT }])));
  assert.deepEqual(await Array.fromAsync(content.status({ refs: ['two'] })), []);
});

async function* from<T>(messages: readonly T[]): AsyncIterable<T> {
  yield* messages;
}

test('images are put, found, pointed elsewhere, listed and deleted', async () => {
  const target = (text: string) => ({ mediaType: 'text/plain', digest: digestOf(Buffer.from(text)), size: 3n });
  await images.put({ image: { name: 'a', target: target('a') } });
  await images.put({ image: { name: 'a', target: target('b') } });
  assert.deepEqual((await images.get({ name: 'a' })).image, { name: 'a', target: target('b') });
  assert.ok((await images.list({})).images.some(({ name }) => name === 'a'));
  await images.delete({ name: 'a' });
  await assert.rejects(images.get({ name: 'a' }), (error) => hasCode(error, 'NOT_FOUND'));
});

test('layers are unpacked, prepared and mounted; a container is created, started, entered, killed and deleted', async () => {
  await ctr.ok('content', 'fetch', '--plain-http', image.busybox);
  const { target } = (await images.get({ name: image.busybox })).image ?? {};
  const top = JSON.parse(await blob(target?.digest ?? ''));
  const manifest = top.layers ? top : JSON.parse(await blob(top.manifests[0].digest));
  const layers = manifest.layers.map(
    ({ mediaType, digest, size }: { mediaType: string; digest: string; size: number }) => ({
      mediaType,
      digest,
      size: BigInt(size),
    }),
  );
  const { chainid: chainId } = await rootfs.unpack({ layers });
  assert.match(chainId, /^sha256:[0-9a-f]{64}$/);
  assert.equal((await rootfs.unpack({ layers })).chainid, chainId, 'again, it is there already');
  const { mounts } = await rootfs.prepare({ name: 'c', chainId });
  assert.deepEqual((await rootfs.mounts({ name: 'c' })).mounts, mounts);
  assert.match(
    (await rootfs.prepare({ name: 'v', chainId, readonly: true })).mounts[0]?.options.join() ?? '',
    /\bro\b|lowerdir/,
  );

  const events: Event[] = [];
  const stream = execution.events({});
  await stream.opened;
  const collected = (async () => {
    for await (const event of stream) events.push(event);
  })().catch(() => undefined);

  const output = join(directory.path, 'out');
  await writeFile(output, '');
  const spec = packJson(SPEC, applyChanges(defaultSpec(namespace, 'c'), [withArgs(['sleep', '1000'])]));
  const { pid } = await execution.create({ ...NO_STREAMS, id: 'c', spec, rootfs: mounts, runtime: 'linux' });
  assert.ok(pid > 0);
  assert.deepEqual(await execution.info({ id: 'c' }), { id: 'c', pid, status: Status.CREATED });
  await execution.start({ id: 'c' });
  assert.deepEqual((await execution.list({})).containers, [{ id: 'c', pid, status: Status.RUNNING }]);

  const { process } = applyChanges(defaultSpec(namespace, 'c'), [
    withArgs(['sh', '-c', 'echo entered; cat /etc/hostname']),
  ]);
  const entered = await execution.exec({
    ...NO_STREAMS,
    id: 'c',
    stdout: `file://${output}`,
    spec: packJson(PROCESS, process),
  });
  assert.ok(entered.pid > 0 && entered.pid !== pid);
  await eventually('the exec has written', async () =>
    (await readFile(output, 'utf8')).includes('entered') ? true : undefined,
  );
  await execution.closeStdin({ id: 'c', pid });
  await assert.rejects(execution.closeStdin({ id: 'c', pid: 1 }), (error) => hasCode(error, 'NOT_FOUND'));

  await execution.kill({ id: 'c', signal: 9, all: true });
  const died = await eventually('the exit is told', () =>
    events.find((event) => event.type === EventType.EXIT && event.pid === pid),
  );
  assert.equal(died.exitStatus, 137);
  const { id, exitStatus } = await execution.delete({ id: 'c' });
  assert.deepEqual([id, exitStatus], ['c', 137]);
  assert.deepEqual((await execution.list({})).containers, []);
  assert.doesNotMatch(await ctr.ok('containers', 'ls', '--quiet'), /^c$/m);
  const kinds = events.map(({ type }) => type);
  assert.deepEqual(kinds.slice(0, 3), [EventType.CREATE, EventType.START, EventType.EXEC_ADDED]);
  stream.cancel();
  await collected;
});
