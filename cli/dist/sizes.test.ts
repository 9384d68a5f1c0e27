import assert from 'node:assert/strict';
import { it } from 'node:test';
import { formatAge, formatBytes, formatDuration } from './sizes.js';

it('writes sizes', () => {
  assert.deepEqual([0, 1023, 1024, 47_815_066, 2 ** 50].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '45.6 MiB',
    '1.0 PiB',
  ]);
});

it('writes durations', () => {
  assert.deepEqual([50, 3210, 59_400, 245_000, 7_620_000].map(formatDuration), [
    '0.1 s',
    '3.2 s',
    '59 s',
    '4 m 05 s',
    '2 h 07 m',
  ]);
});

it('writes ages', () => {
  const at = (seconds: number) => formatAge(0, seconds * 1000);
  assert.deepEqual([0, 1, 59, 61, 7300, 90_000, 900_000].map(at), [
    'now',
    '1 second',
    '59 seconds',
    '1 minute',
    '2 hours',
    '1 day',
    '10 days',
  ]);
});
