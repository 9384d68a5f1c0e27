import assert from 'node:assert/strict';
import { test } from 'node:test';
import { implement } from '../lib/rpc/definition.js';
import { ContentDefinition, ReadContentResponse, WriteContentRequest } from './content.js';
import { WriteContentRequest as PlainRequest, ReadContentResponse as PlainResponse } from './gen/services/content.js';

const sizes = [0, 1, 127, 128, 16383, 16384, 1 << 20, (1 << 21) + 1];

/** Whether bytes are in a Buffer or not does not matter. */
const plain = <T extends { data: Uint8Array }>(message: T): T => ({ ...message, data: Buffer.from(message.data) });

test('bulk messages read the same as generated ones, at every length of their length', () => {
  for (const size of sizes) {
    const data = Buffer.from(Array.from({ length: size }, (_, index) => index & 0xff));
    const response = PlainResponse.create({ offset: 2n ** 60n, data });
    assert.deepEqual(plain(PlainResponse.decode(ReadContentResponse.encode(response).finish())), plain(response));
    const request = PlainRequest.create({ action: 1, ref: 'r', offset: 5n, data, labels: { a: 'b' } });
    assert.deepEqual(plain(PlainRequest.decode(WriteContentRequest.encode(request).finish())), plain(request));
    assert.deepEqual(plain(WriteContentRequest.decode(PlainRequest.encode(request).finish())), plain(request));
  }
});

test('decoded data is a view of what was received', () => {
  const bytes = PlainResponse.encode(PlainResponse.create({ data: new Uint8Array(100) })).finish();
  assert.equal(ReadContentResponse.decode(bytes).data.buffer, bytes.buffer);
});

test('the definition takes handlers of the generated messages', () => {
  const missing = async (): Promise<never> => assert.fail();
  implement(ContentDefinition, {
    info: missing,
    update: missing,
    async *list() {},
    delete: missing,
    async *read({ digest }) {
      yield { offset: 0n, data: Buffer.from(digest) };
    },
    status: missing,
    listStatuses: missing,
    async *write() {},
    abort: missing,
  });
});
