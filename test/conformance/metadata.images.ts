import assert from 'node:assert/strict';
import type { NewImage } from '../../kernel/contracts/images.js';
import { digestOf } from '../../lib/digest.js';
import type { Checks } from './metadata.js';
import { A, B, rejects, tick } from './metadata.workbench.js';

const DIGEST = digestOf(Buffer.from('target'));
const OTHER = digestOf(Buffer.from('other'));

const target = { mediaType: 'application/x', digest: DIGEST, size: 7 };

const image = (name: string, more: Partial<NewImage> = {}): NewImage => ({ name, target, ...more });

export const imageChecks: Checks = {
  async 'are created, found, listed in order and deleted'({ services: { images } }) {
    await images.create(A, image('b', { labels: { x: '1', gone: '' } }));
    await images.create(A, image('a', { target: { ...target, annotations: { note: 'n' } } }));
    await rejects('ALREADY_EXISTS', images.create(A, image('a')));
    const found = await images.get(A, 'b');
    assert.deepEqual(found.labels, { x: '1' });
    assert.deepEqual({ ...found.target, annotations: undefined }, { ...target, annotations: undefined });
    assert.ok(found.createdAt > 0n && found.createdAt === found.updatedAt);
    assert.deepEqual((await images.get(A, 'a')).target.annotations, { note: 'n' });
    assert.deepEqual(
      (await images.list(A)).map(({ name }) => name),
      ['a', 'b'],
    );
    await images.delete(A, 'a');
    await rejects('NOT_FOUND', images.get(A, 'a'));
    await rejects('NOT_FOUND', images.delete(A, 'a'));
    assert.deepEqual(await images.list(A), [found]);
  },

  async 'tell what happens to them'(bench) {
    const { images } = bench.services;
    await images.create(A, image('told'));
    await images.update(A, image('told', { labels: { x: '1' } }));
    await images.delete(A, 'told');
    assert.deepEqual(await bench.topics(), ['a /images/create', 'a /images/update', 'a /images/delete']);
    bench.eventsName('told');
  },

  async 'of one namespace are not seen in another'({ services: { images } }) {
    await images.create(A, image('a'));
    await rejects('NOT_FOUND', images.get(B, 'a'));
    assert.deepEqual(await images.list(B), []);
    await images.create(B, image('a'));
  },

  async 'without name, digest, size or media type are refused'({ services: { images } }) {
    const wrong: readonly NewImage[] = [
      image(''),
      image('a', { target: { ...target, digest: 'sha256:../x' } }),
      image('a', { target: { ...target, digest: '' } }),
      image('a', { target: { ...target, size: 0 } }),
      image('a', { target: { ...target, size: -1 } }),
      image('a', { target: { ...target, mediaType: '' } }),
      image('a', { labels: { k: 'v'.repeat(4096) } }),
    ];
    for (const each of wrong) await rejects('INVALID_ARGUMENT', images.create(A, each));
    assert.deepEqual(await images.list(A), []);
  },

  async 'an update without a mask replaces all but the time of creation'({ services: { images } }) {
    const created = await images.create(A, image('a', { labels: { x: '1' } }));
    await tick();
    const updated = await images.update(A, image('a', { target: { ...target, digest: OTHER }, labels: { y: '2' } }));
    assert.equal(updated.createdAt, created.createdAt);
    assert.ok(updated.updatedAt > created.updatedAt, 'updatedAt is the time of the update');
    assert.equal(updated.target.digest, OTHER);
    assert.deepEqual(updated.labels, { y: '2' });
    await rejects('NOT_FOUND', images.update(A, image('nothing')));
    await rejects('INVALID_ARGUMENT', images.update(A, image('')));
    await rejects('INVALID_ARGUMENT', images.update(A, image('a', { target: { ...target, size: 0 } })));
  },

  async 'masks replace what they name'({ services: { images } }) {
    await images.create(A, image('a', { labels: { x: '1', y: '2' }, target: { ...target, annotations: { n: '1' } } }));
    const other = { ...target, digest: OTHER, annotations: { m: '2' } };
    const incoming = image('a', { labels: { x: '', z: '3' }, target: other });
    await images.update(A, incoming, ['labels.x', 'labels.z']);
    assert.deepEqual((await images.get(A, 'a')).labels, { y: '2', z: '3' });
    assert.equal((await images.get(A, 'a')).target.digest, DIGEST);
    await images.update(A, incoming, ['annotations.m']);
    assert.deepEqual((await images.get(A, 'a')).target.annotations, { n: '1', m: '2' });
    await images.update(A, incoming, ['annotations']);
    assert.deepEqual((await images.get(A, 'a')).target.annotations, { m: '2' });
    await images.update(A, incoming, ['target']);
    assert.equal((await images.get(A, 'a')).target.digest, OTHER);
    await images.update(A, incoming, ['labels']);
    assert.deepEqual((await images.get(A, 'a')).labels, { z: '3' });
    for (const path of ['name', 'created_at', 'target.digest', 'labelsx', '']) {
      await rejects('INVALID_ARGUMENT', images.update(A, incoming, [path]));
    }
  },

  async 'given times replace the clock'({ services: { images } }) {
    const moment = 1_234_567_890_123_456_789n;
    const created = await images.create(A, image('a', { createdAt: moment }));
    assert.equal(created.createdAt, moment);
    assert.equal(created.updatedAt, moment);
    assert.equal((await images.get(A, 'a')).createdAt, moment);
  },

  async 'deletion may insist on a target'({ services: { images } }) {
    await images.create(A, image('a'));
    await rejects('NOT_FOUND', images.delete(A, 'a', { target: { ...target, digest: OTHER } }));
    await images.delete(A, 'a', { target });
    assert.deepEqual(await images.list(A), []);
  },

  async 'are filtered by name, target, labels and annotations'({ services: { images } }) {
    await images.create(A, image('docker.io/library/a:1', { labels: { 'x.y/z': 'v' } }));
    await images.create(A, image('b', { target: { mediaType: 'm', digest: OTHER, size: 1, annotations: { n: '1' } } }));
    const named = async (...filters: string[]): Promise<string[]> =>
      (await images.list(A, filters)).map(({ name }) => name);
    assert.deepEqual(await named('name==b'), ['b']);
    assert.deepEqual(await named('name~=^docker'), ['docker.io/library/a:1']);
    assert.deepEqual(await named(`target.digest==${OTHER}`), ['b']);
    assert.deepEqual(await named('target.mediatype==m'), ['b']);
    assert.deepEqual(await named('labels."x.y/z"==v'), ['docker.io/library/a:1']);
    assert.deepEqual(await named('annotations.n'), ['b']);
    assert.deepEqual(await named('name==b', 'labels."x.y/z"'), ['b', 'docker.io/library/a:1']);
    assert.deepEqual(await named('nothing==b'), []);
    await rejects('INVALID_ARGUMENT', named('name='));
  },

  async 'survive a restart'(bench) {
    const created = await bench.services.images.create(A, image('a', { labels: { x: '1' } }));
    await bench.restart();
    assert.deepEqual((await bench.services.images.get(A, 'a')).createdAt, created.createdAt);
  },

  async 'many are listed, in order'({ services: { images } }) {
    const names = Array.from({ length: 701 }, (_, i) => `image-${String(i).padStart(4, '0')}`);
    await Promise.all(names.toReversed().map((name) => images.create(A, image(name))));
    assert.deepEqual(
      (await images.list(A)).map(({ name }) => name),
      names,
    );
  },
};
