import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { connect } from '../../client/index.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { coded } from '../../test/harness/metadata.js';
import { scratch } from '../../test/harness/scratch.js';

it('records of sandboxes go over gRPC and come back as they were', async () => {
  await using directory = await scratch('sandboxes');
  const address = join(directory.path, 's');
  const plugins = ['content', 'events', 'metadata', 'sandboxes-service', 'server-grpc'];
  await using _ = await startTestKernel({ plugins, config: { 'server-grpc': { address } } });
  using client = connect({ address, namespace: 'pods' });
  const any = (text: string) => ({ typeUrl: text, value: Buffer.from(text) });
  const sandbox = {
    sandboxId: 's',
    runtime: { name: 'vm', options: any('options') },
    spec: any('spec'),
    labels: { a: '1' },
    extensions: { x: any('x') },
    sandboxer: 'memory',
  };
  const { sandbox: created } = await client.sandboxes.create({ sandbox });
  assert.ok(created?.createdAt);
  const { createdAt, updatedAt } = created;
  const { sandbox: found } = await client.sandboxes.get({ sandboxId: 's' });
  assert.deepEqual(found, created);
  assert.deepEqual({ ...found, createdAt, updatedAt }, { ...created, ...sandbox, createdAt, updatedAt });
  const relabelled = { sandboxId: 's', labels: { b: '2' } };
  const { sandbox: updated } = await client.sandboxes.update({ sandbox: relabelled, fields: ['labels.b'] });
  assert.deepEqual(updated?.labels, { a: '1', b: '2' });
  const { list } = await client.sandboxes.list({ filters: ['labels.b==2'] });
  assert.deepEqual(list, [updated]);
  assert.deepEqual((await client.in('other').sandboxes.list({})).list, []);
  await assert.rejects(client.sandboxes.create({}), coded('INVALID_ARGUMENT', /sandbox is required/));
  await client.sandboxes.delete({ sandboxId: 's' });
  await assert.rejects(client.sandboxes.get({ sandboxId: 's' }), coded('NOT_FOUND', /"s"/));
});
