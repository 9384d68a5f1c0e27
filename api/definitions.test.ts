import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Handlers, implement, type ServiceDefinition } from '../lib/rpc/definition.js';
import { HealthDefinition } from './gen/grpc/health.js';
import { TaskDefinition as TaskV2 } from './gen/runtime/task-v2.js';
import { TaskDefinition as TaskV3 } from './gen/runtime/task-v3.js';
import { ContentDefinition } from './gen/services/content.js';
import { EventsDefinition as TtrpcEvents } from './gen/services/events-ttrpc.js';
import { Image, ImagesDefinition } from './gen/services/images.js';
import { VersionDefinition } from './gen/services/version.js';
import { Descriptor } from './gen/types/descriptor.js';

const definitions: readonly ServiceDefinition[] = [
  HealthDefinition,
  TaskV2,
  TaskV3,
  ContentDefinition,
  TtrpcEvents,
  ImagesDefinition,
  VersionDefinition,
];

test('generated definitions name their methods as the wire does', () => {
  assert.deepEqual(
    definitions.map(({ fullName }) => fullName),
    [
      'grpc.health.v1.Health',
      'containerd.task.v2.Task',
      'containerd.task.v3.Task',
      'containerd.services.content.v1.Content',
      'containerd.services.events.ttrpc.v1.Events',
      'containerd.services.images.v1.Images',
      'containerd.services.version.v1.Version',
    ],
  );
  assert.equal(ContentDefinition.methods.listStatuses.name, 'ListStatuses');
});

test('handlers are typed by the definition', () => {
  const handlers: Handlers<typeof VersionDefinition> = { version: async () => ({ version: '1', revision: 'r' }) };
  assert.equal(implement(VersionDefinition, handlers).definition, VersionDefinition);
  // @ts-expect-error a response without its revision does not compile
  implement(VersionDefinition, { version: async () => ({ version: '1' }) });
  // @ts-expect-error a missing method does not compile
  implement(HealthDefinition, { check: async () => ({ status: 1 }) });
});

const image = (labels: Record<string, string>): Image => ({
  name: 'i',
  labels,
  target: undefined,
  createdAt: undefined,
  updatedAt: undefined,
});

test('every map key is exact, and none is more than a key', () => {
  const labels = Object.fromEntries([
    ['__proto__', 'p'],
    ['constructor', 'a'],
    ['', 'empty'],
    ['toString', 'b'],
  ]);
  for (const message of [image(labels), Image.fromPartial({ labels })]) {
    const { labels: decoded } = Image.decode(Image.encode(message).finish());
    assert.deepEqual(Object.entries(decoded), Object.entries(labels));
    assert.equal(Object.getPrototypeOf(decoded), Object.prototype);
  }
});

test('64-bit integers are exact', () => {
  const size = 2n ** 63n - 1n;
  const descriptor = Descriptor.create({ mediaType: 'm', digest: 'd', size });
  assert.equal(Descriptor.decode(Descriptor.encode(descriptor).finish()).size, size);
  assert.throws(() => Descriptor.encode({ ...descriptor, size: 2n ** 63n }).finish());
});

test('malformed bytes are refused', () => {
  const cases: Readonly<Record<string, readonly number[]>> = {
    'not UTF-8 in a string': [0x0a, 1, 0xff],
    'tag 0': [0x00],
    'field longer than the buffer': [0x0a, 5, 0x61],
    'field longer than its message': [0x1a, 1, 0x0a, 5, 0x61],
    'end of a group that never began': [0x0c],
    'unknown wire type': [0x0f],
  };
  for (const [name, bytes] of Object.entries(cases)) {
    assert.throws(() => Image.decode(Uint8Array.from(bytes)), Error, name);
  }
});

test('groups nested without end are refused and do not exhaust the stack', () => {
  assert.throws(() => Image.decode(new Uint8Array(1 << 20).fill(0x7b)), /recursion/);
});

test('an unknown field is passed over', () => {
  assert.equal(Image.decode(Uint8Array.from([0xf8, 0x07, 5, 0x0a, 1, 0x69])).name, 'i');
});
