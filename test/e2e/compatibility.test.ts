/** What docs/compatibility.md says against what a running daemon answers. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { compatibilityOf } from '../harness/compatibility.js';
import { startWorld } from './world.js';

const page = await readFile(new URL('../../../docs/compatibility.md', import.meta.url), 'utf8');
const { daemon } = await startWorld([], { kind: 'keelsond' });
const client = new Client(`unix:${daemon.address}`, credentials.createInsecure());
after(() => client.close());

/** Long enough for a refusal; calls that wait for something are cut off. */
const PATIENCE = 1000;

interface Answer {
  readonly code: number;
  readonly details: string;
}

/** What an empty message comes back with; it gets as far as any other. */
function ask(path: string): Promise<Answer> {
  const metadata = new Metadata();
  metadata.set('containerd-namespace', 'compatibility');
  const bytes = (): Buffer => Buffer.alloc(0);
  const call = client.makeBidiStreamRequest(path, bytes, bytes, metadata, { deadline: Date.now() + PATIENCE });
  return new Promise((resolve) => {
    call.on('error', () => undefined);
    call.on('status', resolve);
    call.resume();
    call.end(Buffer.alloc(0));
  });
}

/** What is not there yet comes to light only for an object that exists; an empty message names none. */
const REFUSALS: readonly number[] = [status.UNIMPLEMENTED, status.NOT_FOUND];

/** No plugin has registered the call. */
const isUnknown = ({ code, details }: Answer): boolean =>
  code === status.UNIMPLEMENTED && /does not implement the method/.test(details);

/** The services of the other socket. */
const isTtrpc = (call: string): boolean => call.startsWith('containerd.services.events.ttrpc.');

for (const { call, status: said } of compatibilityOf(page).filter(({ call }) => !isTtrpc(call))) {
  test(`${call}: ${said}`, async () => {
    const answer = await ask(`/${call}`);
    if (said === 'not yet') assert.ok(REFUSALS.includes(answer.code), answer.details);
    else assert.equal(isUnknown(answer), false, answer.details);
  });
}
