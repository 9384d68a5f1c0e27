import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TaskExit, TaskStart } from '../../api/gen/events/task.js';
import { hasCode } from '../../kernel/errors.js';
import { isAny, packAny, packJson, unpackAny } from './any.js';
import { fromDescriptorMessage, toDescriptorMessage } from './descriptor.js';
import { toInt64, toSafeInteger, toSize } from './int64.js';
import { fromTimestamp, toTimestamp, ZERO_TIME } from './timestamp.js';

const code = (expected: Parameters<typeof hasCode>[1]) => (error: unknown) => hasCode(error, expected);

test('64-bit integers are exact or refused', () => {
  assert.equal(toSafeInteger(2n ** 53n - 1n, 'size'), Number.MAX_SAFE_INTEGER);
  assert.throws(() => toSafeInteger(2n ** 53n, 'size'), code('OUT_OF_RANGE'));
  assert.throws(() => toSafeInteger(-(2n ** 63n), 'size'), code('OUT_OF_RANGE'));
  assert.throws(() => toSize(-1n, 'offset'), code('INVALID_ARGUMENT'));
  assert.equal(toInt64(5, 'size'), 5n);
  for (const unsafe of [2 ** 53, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => toInt64(unsafe, 'size'), code('OUT_OF_RANGE'));
  }
});

test('moments are exact to the nanosecond, also before the epoch', () => {
  for (const moment of [0n, 1n, -1n, 1_700_000_000_123_456_789n, -1_000_000_000n, ZERO_TIME]) {
    assert.equal(fromTimestamp(toTimestamp(moment)), moment);
  }
  assert.deepEqual(toTimestamp(-1n), { seconds: -1n, nanos: 999_999_999 });
  assert.deepEqual(toTimestamp(ZERO_TIME), { seconds: -62_135_596_800n, nanos: 0 });
  assert.equal(ZERO_TIME, BigInt(Date.parse('0001-01-01T00:00:00Z')) * 1_000_000n);
  assert.equal(fromTimestamp(undefined), ZERO_TIME);
  assert.throws(() => fromTimestamp({ seconds: 0n, nanos: -1 }), code('INVALID_ARGUMENT'));
  assert.throws(() => fromTimestamp({ seconds: 0n, nanos: 1_000_000_000 }), code('INVALID_ARGUMENT'));
});

test('an Any carries the bare message name', () => {
  const message = TaskStart.create({ containerId: 'redis', pid: 7 });
  const any = packAny(TaskStart, message);
  assert.equal(any.typeUrl, 'containerd.events.TaskStart');
  assert.deepEqual(unpackAny(TaskStart, any), message);
  assert.equal(isAny(TaskStart, { ...any, typeUrl: 'type.googleapis.com/containerd.events.TaskStart' }), true);
  assert.throws(() => unpackAny(TaskExit, any), code('INVALID_ARGUMENT'));
  assert.throws(() => unpackAny(TaskStart, { ...any, value: Uint8Array.of(0) }), code('INVALID_ARGUMENT'));
  assert.equal(Buffer.from(packJson('x/Spec', { a: 1 }).value).toString(), '{"a":1}');
});

test('descriptors keep their size and annotations', () => {
  const descriptor = { mediaType: 'm', digest: 'sha256:0', size: 5, annotations: { a: 'b' } };
  assert.deepEqual(fromDescriptorMessage(toDescriptorMessage(descriptor), 'target'), descriptor);
  const bare = { mediaType: 'm', digest: 'sha256:0', size: 5 };
  assert.deepEqual(fromDescriptorMessage(toDescriptorMessage(bare), 'target'), bare);
  assert.throws(() => fromDescriptorMessage(undefined, 'target'), code('INVALID_ARGUMENT'));
  assert.throws(
    () => fromDescriptorMessage({ ...toDescriptorMessage(bare), size: -1n }, 'target'),
    code('INVALID_ARGUMENT'),
  );
});
