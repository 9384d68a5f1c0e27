/** What docs/compatibility.md says against what a running daemon answers. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { compatibilityOf } from '../harness/compatibility.js';
import { startWorld } from './world.js';

const page = await readFile(new URL('../../../docs/compatibility.md', import.meta.url), 'utf8');
const { daemon } = await startWorld([], { kind: 'keelsond' });
const client = new Client(`unix:${daemon.address}`, credentials.createInsecure());
after(() => client.close());

/** Long enough for a refusal; calls that wait for something are cut off. */
const PATIENCE = 1000;

/** True when no handler is registered: an empty message gets as far as any other. */
function isUnknown(path: string): Promise<boolean> {
  const metadata = new Metadata();
  metadata.set('containerd-namespace', 'compatibility');
  const bytes = (): Buffer => Buffer.alloc(0);
  const call = client.makeBidiStreamRequest(path, bytes, bytes, metadata, { deadline: Date.now() + PATIENCE });
  return new Promise((resolve) => {
    call.on('error', ({ code, details }: ServiceError) =>
      resolve(code === status.UNIMPLEMENTED && /does not implement the method/.test(details)),
    );
    call.on('end', () => resolve(false));
    call.resume();
    call.end(Buffer.alloc(0));
  });
}

/** The services of the other socket. */
const isTtrpc = (call: string): boolean => call.startsWith('containerd.services.events.ttrpc.');

for (const { call, status: said } of compatibilityOf(page).filter(({ call }) => !isTtrpc(call))) {
  test(`${call}: ${said}`, async () => {
    assert.equal(await isUnknown(`/${call}`), said === 'not yet');
  });
}
