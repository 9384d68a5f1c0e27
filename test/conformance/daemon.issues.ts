/** One check for each bug that daemons had before, with its link. */
import assert from 'node:assert/strict';
import { connect } from '../../client/index.js';
import { digestOf } from '../../lib/digest.js';
import { type Check, rejects, spec } from './daemon.workbench.js';

const ACTION = { WRITE: 1, COMMIT: 2 } as const;

/** As many containers, with specs as large, as make a list of more than 4 MiB. */
const MANY = 50;
const LARGE = 100_000;

export const issueChecks: Readonly<Record<string, Check>> = {
  'https://github.com/containerd/containerd/issues/2226: a list may be larger than 4 MiB': async ({ client }) => {
    const large = { ...spec, value: Buffer.from(JSON.stringify({ hostname: 'x'.repeat(LARGE) })) };
    const ids = Array.from({ length: MANY }, (_, index) => `large-${index}`);
    const runtime = { name: 'io.containerd.runc.v2' };
    for (const id of ids) await client.containers.create({ container: { id, runtime, spec: large } });
    const { containers } = await client.containers.list({});
    assert.equal(containers.length, MANY);
    assert.ok(containers.every((container) => container.spec?.value.length === large.value.length));
    for (const id of ids) await client.containers.delete({ id });
  },

  'https://github.com/containerd/containerd/issues/9594: a container without a spec is refused, and others are served':
    async ({ client }) => {
      const runtime = { name: 'io.containerd.runc.v2' };
      await rejects('INVALID_ARGUMENT', client.containers.create({ container: { id: 'bare', runtime } }));
      await rejects('NOT_FOUND', client.tasks.create({ containerId: 'bare' }));
      assert.ok((await client.version.version({})).version);
    },

  'https://github.com/containerd/containerd/issues/1497: a namespace is deleted by who names none': async ({
    address,
    client,
    namespace,
  }) => {
    using none = connect({ address });
    const name = `${namespace}-other`;
    await client.namespaces.create({ namespace: { name } });
    await none.namespaces.delete({ name });
    await rejects('NOT_FOUND', client.namespaces.delete({ name }));
  },

  'https://github.com/containerd/containerd/pull/585: a write that is over with its commit has succeeded': async ({
    client,
  }) => {
    const data = Buffer.from(`at once ${client.namespace}`);
    const digest = digestOf(data);
    await client.leases.create({ id: 'kit' });
    async function* requests() {
      yield { action: ACTION.WRITE, ref: 'kit', offset: 0n, data };
      yield { action: ACTION.COMMIT, ref: 'kit', offset: BigInt(data.length), expected: digest };
    }
    const answers = await Array.fromAsync(client.content.write(requests(), { lease: 'kit' }));
    assert.equal(answers.at(-1)?.digest, digest);
    await client.content.delete({ digest });
    await client.leases.delete({ id: 'kit', sync: true });
  },
};
