/** Services in memory, as a plugin that stands on them has them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeEvent } from '../../api/events.js';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import type { Events } from '../../kernel/contracts/events.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { Streams } from '../../kernel/contracts/streams.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { providing, startTestKernel } from './kernel.js';
import { MemoryContent, MemoryImages, MemoryLeases, MemoryNamespaces } from './memory.js';
import { MemoryArchives } from './memory-archives.js';
import { MemoryContainers } from './memory-containers.js';
import { MemoryDistribution } from './memory-distribution.js';
import { MemoryRuntime } from './memory-runtime.js';
import { MemoryStream } from './memory-stream.js';
import { coded, container, JSON_TYPE } from './metadata.js';

const A = { namespace: 'a' };
const STREAMS = { terminal: false, stdin: '', stdout: '', stderr: '' };
const PROCESS = { typeUrl: 'process', value: new Uint8Array() };
const target = { mediaType: JSON_TYPE, digest: `sha256:${'1'.repeat(64)}`, size: 3 };

describe('a runtime in memory', () => {
  it('runs tasks of the tree, with execs, pauses, signals and events in their order', async () => {
    const told: unknown[] = [];
    const publish: Events['publish'] = (_, topic, event) => void told.push([topic, decodeEvent(event)]);
    const containers = new MemoryContainers();
    const runtime = new MemoryRuntime({ publish });
    const content = new MemoryContent(new MemoryLeases());
    const fakes = [providing(Containers, containers), providing(Content, content), providing(Runtimes, runtime)];
    await using kernel = await startTestKernel({ plugins: [...fakes, 'tasks'] });
    const tasks = kernel.get(Tasks);
    const [name = ''] = runtime.names;
    await containers.create(A, container('c', { runtime: { name } }));

    const { pid } = await tasks.create(A, { id: 'c', rootfs: [], ...STREAMS });
    await assert.rejects(tasks.create(A, { id: 'c', rootfs: [], ...STREAMS }), coded('ALREADY_EXISTS'));
    await assert.rejects(tasks.start(A, { id: 'other' }), coded('NOT_FOUND'));
    assert.deepEqual(await tasks.start(A, { id: 'c' }), { pid });
    await assert.rejects(tasks.start(A, { id: 'c' }), coded('FAILED_PRECONDITION'));
    await tasks.exec(A, { id: 'c', execId: 'e', spec: PROCESS, ...STREAMS });
    await assert.rejects(tasks.exec(A, { id: 'c', execId: 'e', spec: PROCESS, ...STREAMS }), coded('ALREADY_EXISTS'));
    await tasks.start(A, { id: 'c', execId: 'e' });
    assert.equal((await tasks.pids(A, 'c')).length, 2);
    await tasks.pause(A, 'c');
    assert.equal((await tasks.get(A, { id: 'c' })).status, 'paused');
    await tasks.resume(A, 'c');
    await assert.rejects(tasks.resize(A, { id: 'c' }, { width: 1, height: 1 }), coded('FAILED_PRECONDITION'));
    await assert.rejects(tasks.kill(A, { id: 'c' }, 0), coded('INVALID_ARGUMENT'));
    await assert.rejects(tasks.delete(A, { id: 'c' }), coded('FAILED_PRECONDITION'));

    const waiting = tasks.wait(A, { id: 'c' });
    await tasks.kill(A, { id: 'c' }, 9);
    const { exitStatus } = await waiting;
    assert.equal(exitStatus, 137);
    await assert.rejects(tasks.kill(A, { id: 'c' }, 9), coded('NOT_FOUND', /already finished/));
    assert.equal((await tasks.delete(A, { id: 'c', execId: 'e' })).exitStatus, 137);
    assert.equal((await tasks.delete(A, { id: 'c' })).pid, pid);
    assert.deepEqual([runtime.tasks('a'), runtime.namespaces()], [[], []]);
    assert.deepEqual(
      told.map((entry) => (Array.isArray(entry) ? entry[0] : entry)),
      [
        ...['/tasks/create', '/tasks/start', '/tasks/exec-added', '/tasks/exec-started', '/tasks/paused'],
        ...['/tasks/resumed', '/tasks/exit', '/tasks/exit', '/tasks/delete'],
      ],
    );
  });
});

describe('a stream in memory', () => {
  it('carries messages both ways through the streams of the tree, until one side ends it', async () => {
    await using kernel = await startTestKernel({ plugins: ['streaming'] });
    const stream = new MemoryStream();
    kernel.get(Streams).register(A, 's', stream);
    const daemon = kernel.get(Streams).get(A, 's');
    const first = daemon.receive();
    stream.push(PROCESS);
    stream.push({ ...PROCESS, typeUrl: 'second' });
    assert.deepEqual([(await first)?.typeUrl, (await daemon.receive())?.typeUrl], ['process', 'second']);
    await daemon.send(PROCESS);
    assert.deepEqual(stream.sent, [PROCESS]);
    const last = daemon.receive();
    stream.close();
    assert.equal(await last, undefined);
    await assert.rejects(daemon.send(PROCESS), coded('UNAVAILABLE'));
  });
});

describe('images in memory', () => {
  it('are pulled from a registry that is a map, and pushed to it', async () => {
    const images = new MemoryImages();
    const distribution = new MemoryDistribution(images);
    await assert.rejects(distribution.pull(A, 'r/a:1'), coded('NOT_FOUND', /"r\/a:1"/));
    assert.equal(images.images.size, 0);
    distribution.registry.set('r/a:1', target);
    for (let time = 0; time < 2; time += 1) await distribution.pull(A, 'r/a:1', { labels: { x: '1' } });
    assert.deepEqual((await images.get(A, 'r/a:1')).target, target);
    await distribution.push(A, 'r/b:1', target);
    assert.deepEqual((await distribution.resolve(A, 'r/b:1')).descriptor, target);
    distribution.subjects.set(target.digest, [target]);
    assert.deepEqual(await distribution.referrers(A, `r/a@${target.digest}`), [target]);
    await assert.rejects(distribution.referrers(A, 'r/a:1'), coded('INVALID_ARGUMENT'));
  });

  it('are imported and exported as the bytes they are', async () => {
    const archives = new MemoryArchives(new MemoryImages());
    const [image] = await archives.import(A, ReadableStream.from([Buffer.from('ab'), Buffer.from('c')]), { name: 'i' });
    assert.equal(image?.target.size, 3);
    assert.equal(Buffer.concat(await Array.fromAsync(archives.export(A, ['i']))).toString(), 'abc');
    await assert.rejects(Array.fromAsync(archives.export(A, ['j'])), coded('NOT_FOUND', /"j"/));
  });

  it('are updated by mask', async () => {
    const images = new MemoryImages();
    await images.create(A, { name: 'i', labels: { a: '1', b: '2' }, target });
    const next = { name: 'i', labels: { a: '' }, target: { ...target, size: 4, annotations: { n: '1' } } };
    assert.deepEqual((await images.update(A, next, ['labels.a'])).labels, { b: '2' });
    assert.deepEqual((await images.update(A, next, ['annotations.n'])).target, { ...target, annotations: { n: '1' } });
    assert.equal((await images.update(A, next)).target.size, 4);
    await assert.rejects(images.update(A, next, ['name']), coded('INVALID_ARGUMENT'));
    await assert.rejects(images.update(A, { ...next, name: 'j' }), coded('NOT_FOUND'));
  });
});

describe('namespaces and leases in memory', () => {
  it('keep labels, and refuse what the contract refuses', async () => {
    const namespaces = new MemoryNamespaces();
    await namespaces.create({ name: 'b', labels: { x: '1' } });
    await assert.rejects(namespaces.create({ name: 'b', labels: {} }), coded('ALREADY_EXISTS'));
    await namespaces.update({ name: 'a', labels: { y: '2', z: '3' } }, ['labels.y']);
    assert.deepEqual(await namespaces.list(), [
      { name: 'a', labels: { y: '2' } },
      { name: 'b', labels: { x: '1' } },
    ]);
    await assert.rejects(namespaces.update({ name: 'a', labels: {} }, ['name']), coded('INVALID_ARGUMENT'));
    await namespaces.delete('b');
    await assert.rejects(namespaces.delete('b'), coded('NOT_FOUND'));
    assert.deepEqual(await namespaces.get('b'), { name: 'b', labels: {} });
  });

  it('hold what they are given, and let go of it', async () => {
    const leases = new MemoryLeases();
    await leases.create(A, { id: 'l', labels: { x: '1' } });
    await assert.rejects(leases.create(A, { id: 'l' }), coded('ALREADY_EXISTS'));
    assert.deepEqual(
      (await leases.list()).map(({ labels }) => labels),
      [{ x: '1' }],
    );
    const resource = { type: 'snapshots/x', id: 'a key' };
    await leases.addResource(A, 'l', resource);
    assert.deepEqual(await leases.resources(A, 'l'), [resource]);
    await leases.deleteResource(A, 'l', resource);
    assert.deepEqual(await leases.resources(A, 'l'), []);
    await assert.rejects(leases.resources(A, 'm'), coded('NOT_FOUND'));
  });
});
