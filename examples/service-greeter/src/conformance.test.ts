import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'keelson/client';
import { serviceConformance } from 'keelson/conformance/service';
import { scratch, startTestKernel } from 'keelson/testing';
import { GreeterDefinition, plugin } from './index.js';

serviceConformance({ describe, it }, { name: 'service-greeter', unavailable: async () => undefined, plugin });

describe('service-greeter', () => {
  it('greets over gRPC', async () => {
    await using directory = await scratch('greeter');
    const address = join(directory.path, 's');
    const config = { 'server-grpc': { address }, [plugin.id]: { greeting: 'Ahoy' } };
    await using kernel = await startTestKernel({ plugins: [plugin, 'server-grpc'], config });
    using client = connect({ address, namespace: 'sea' });
    assert.equal(await client.service(GreeterDefinition).greet('sailor'), 'Ahoy, sailor of sea');
    await assert.rejects(client.service(GreeterDefinition).greet(''), { code: 'INVALID_ARGUMENT' });
    assert.deepEqual(
      kernel.report.plugins().map(({ outcome }) => outcome),
      ['ok', 'ok'],
    );
  });
});
