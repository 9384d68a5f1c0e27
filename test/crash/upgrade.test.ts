/**
 * From one build of the daemon to another and back, with running containers and a half written blob: fault 55 of
 * docs/reliability.md. `KEELSON_UPGRADE_FROM=DIRECTORY` is a checkout of another commit, built; this one by default, so that
 * the way there and back is gone in every run.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { WriteAction } from '../../api/gen/services/content.js';
import { type Client, connect, pullImage, TaskStatus } from '../../client/index.js';
import { digestOf } from '../../lib/digest.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { busyboxRootfs, processOf, specOf } from '../conformance/container.js';
import { Daemon } from '../harness/daemon.js';
import { supervisorsBelow } from '../harness/runc.js';
import { addImage, archiveOf } from '../hostile/images.js';
import { ScriptedRegistry } from '../hostile/registry.js';

const HOME = join(import.meta.dirname, '../../..');
const THIS = join(HOME, 'bin/keelsond');
const FORMER = join(process.env.KEELSON_UPGRADE_FROM ?? HOME, 'bin/keelsond');

const COUNT = Number(process.env.KEELSON_UPGRADE_TASKS ?? 10);
const NAMESPACE = `upgrade-${process.pid}`;
const RUNTIME = { name: 'io.containerd.runc.v2' };
const REF = 'half';
const BLOB = randomBytes(200_000);
const HALF = 70_000;
const SIGKILL = 9;

const ids = Array.from({ length: COUNT }, (_, n) => `upgraded${n}`);

/** A client of one life of the daemon. */
class Life implements Disposable {
  readonly #daemon: Daemon;
  readonly #client: Client;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
    this.#client = connect({ address: daemon.address, namespace: NAMESPACE });
  }

  async run(id: string): Promise<void> {
    const { containers, tasks } = this.#client;
    const source = join(this.#daemon.directory, 'busybox');
    await containers.create({ container: { id, runtime: RUNTIME, spec: specOf(NAMESPACE, id, 'exec sleep 600') } });
    await tasks.create({
      containerId: id,
      rootfs: [{ type: 'bind', source, target: '', options: ['rbind', 'rw'] }],
    });
    await tasks.start({ containerId: id });
  }

  async end(id: string): Promise<void> {
    const { containers, tasks } = this.#client;
    await tasks.kill({ containerId: id, signal: SIGKILL });
    assert.equal((await tasks.wait({ containerId: id })).exitStatus, 128 + SIGKILL, id);
    await tasks.delete({ containerId: id });
    await containers.delete({ id });
  }

  async exec(id: string, execId: string): Promise<void> {
    const { tasks } = this.#client;
    await tasks.exec({ containerId: id, execId, spec: processOf('exit 7') });
    await tasks.start({ containerId: id, execId });
    assert.equal((await tasks.wait({ containerId: id, execId })).exitStatus, 7, `${id}/${execId}`);
    await tasks.deleteProcess({ containerId: id, execId });
  }

  /** Process ids of the tasks that run. */
  async pids(): Promise<ReadonlyMap<string, number>> {
    const { tasks } = await this.#client.tasks.list({});
    const running = tasks.filter(({ status }) => status === TaskStatus.RUNNING);
    return new Map(running.map(({ id, pid }) => [id, pid]));
  }

  async pull(reference: string): Promise<void> {
    const unpack = [{ platform: hostPlatform(), snapshotter: 'overlayfs' }];
    await pullImage(this.#client, { reference, plainHttp: true, unpack });
  }

  async images(): Promise<string[]> {
    return (await this.#client.images.list({})).images.map(({ name }) => name).sort();
  }

  /** Bytes of the ingest that are there. */
  async written(): Promise<bigint> {
    return (await this.#client.content.status({ ref: REF })).status?.offset ?? -1n;
  }

  async write(from: number, to: number): Promise<void> {
    const total = BigInt(BLOB.length);
    const isWhole = to === BLOB.length;
    const message = {
      action: isWhole ? WriteAction.COMMIT : WriteAction.WRITE,
      ref: REF,
      total,
      expected: isWhole ? digestOf(BLOB) : '',
      offset: BigInt(from),
      data: BLOB.subarray(from, to),
      labels: {},
    };
    const messages = async function* () {
      yield message;
    };
    for await (const { offset } of this.#client.content.write(messages())) assert.equal(offset, BigInt(to));
  }

  async read(): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const { data } of this.#client.content.read({ digest: digestOf(BLOB) })) parts.push(data);
    return Buffer.concat(parts);
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

describe(`a daemon that is replaced by another build while ${COUNT} containers run`, () => {
  it('has them all, and what was begun, there and back', async () => {
    await using registry = await ScriptedRegistry.start();
    const image = (tag: string): string => {
      addImage(registry, { tag, layers: [archiveOf(tag, 10_000)] });
      return `${registry.host}/team/app:${tag}`;
    };
    const [former, later] = [image('former'), image('later')];
    await using daemon = await Daemon.start({ kind: 'keelsond', program: FORMER });
    daemon.ctr(NAMESPACE);
    await busyboxRootfs(join(daemon.directory, 'busybox'));

    const during = async <T>(work: (life: Life) => Promise<T>): Promise<T> => {
      using life = new Life(daemon);
      return await work(life);
    };
    const before = await during(async (life) => {
      for (const id of ids) await life.run(id);
      await life.pull(former);
      await life.write(0, HALF);
      return life.pids();
    });
    assert.deepEqual([...before.keys()].sort(), [...ids].sort());
    const [supervisor] = await supervisorsBelow(daemon.directory);

    await daemon.kill();
    await daemon.start(THIS);
    const between = await during(async (life) => {
      assert.deepEqual(await life.pids(), before);
      assert.deepEqual(await supervisorsBelow(daemon.directory), [supervisor], 'the former one goes on');
      for (const id of ids) await life.exec(id, 'later');
      assert.equal(await life.written(), BigInt(HALF));
      await life.write(HALF, 2 * HALF);
      await life.pull(later);
      await life.run('new');
      return life.pids();
    });

    await daemon.stop();
    await daemon.start(FORMER);
    await during(async (life) => {
      assert.deepEqual(await life.pids(), between);
      assert.deepEqual(await life.images(), [former, later].sort());
      assert.equal(await life.written(), BigInt(2 * HALF));
      await life.write(2 * HALF, BLOB.length);
      assert.ok(BLOB.equals(await life.read()));
      for (const id of ['new', ...ids]) {
        await life.exec(id, 'back');
        await life.end(id);
      }
      assert.deepEqual([...(await life.pids())], []);
    });
  });
});

/** Where SQLite keeps the version of the schema (https://www.sqlite.org/fileformat.html#the_database_header). */
const VERSION_OFFSET = 60;

describe('a daemon that finds the records of a build with a later schema', () => {
  it('serves none of them, says why, and leaves them as they are', async () => {
    await using daemon = await Daemon.start({ kind: 'keelsond', program: FORMER });
    const images = async (): Promise<string[]> => {
      using life = new Life(daemon);
      return await life.images();
    };
    {
      using client = connect({ address: daemon.address, namespace: NAMESPACE });
      const target = { mediaType: 'application/x', digest: digestOf(BLOB), size: 1n };
      await client.images.create({ image: { name: 'kept', target } });
    }
    await daemon.stop();
    const file = join(daemon.root, 'io.containerd.metadata.v1.bolt/metadata.sqlite');
    const bytes = await readFile(file);
    const later = Buffer.from(bytes);
    later.writeUInt32BE(bytes.readUInt32BE(VERSION_OFFSET) + 1, VERSION_OFFSET);
    await writeFile(file, later);
    await daemon.start(FORMER);
    await assert.rejects(images(), { code: 'UNIMPLEMENTED' });
    await daemon.stop();
    assert.match(daemon.logs(), /written by a newer version/);
    assert.ok(later.equals(await readFile(file)));
    await writeFile(file, bytes);
    await daemon.start(THIS);
    assert.deepEqual(await images(), ['kept']);
  });
});
