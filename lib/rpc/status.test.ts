import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { canceled, ERROR_CODES, KeelsonError, notFound } from '../../kernel/errors.js';
import { codeOfStatus, errorOfStatus, isExpected, statusNumber, statusOf } from './status.js';

/** grpc-js spells one code the British way. */
const numberIn = (code: string): unknown =>
  Object.entries(grpc).find(([name]) => name.replace('LL', 'L') === code)?.[1];

for (const code of ERROR_CODES) {
  test(`${code} is its gRPC number, and back`, () => {
    assert.equal(statusNumber(code), numberIn(code));
    assert.equal(codeOfStatus(statusNumber(code)), code);
    assert.deepEqual(statusOf(new KeelsonError(code, 'what failed', { remedy: 'do this' })), {
      code: statusNumber(code),
      message: 'what failed; do this',
    });
    assert.equal(errorOfStatus({ code: statusNumber(code), message: 'm' }).code, code);
  });
}

test('what is not of the taxonomy is INTERNAL', () => {
  assert.deepEqual(statusOf(new TypeError('x is undefined')), { code: grpc.INTERNAL, message: 'x is undefined' });
  assert.equal(statusOf('a string').code, grpc.INTERNAL);
  assert.equal(statusOf(Object.assign(new Error('no file'), { code: 'ENOENT' })).code, grpc.INTERNAL);
  assert.equal(codeOfStatus(grpc.UNKNOWN), 'INTERNAL');
  assert.equal(codeOfStatus(99), 'INTERNAL');
});

test('an error of another copy of the kernel counts', () => {
  const foreign = Object.assign(new Error('gone'), { code: 'NOT_FOUND' });
  assert.equal(isExpected(foreign), true);
  assert.equal(isExpected(notFound('x')), true);
  assert.equal(isExpected(new Error('x')), false);
  assert.equal(statusOf(foreign).code, grpc.NOT_FOUND);
});

test("Node's AbortError takes the code of the signal's reason", () => {
  const abort = Object.assign(new Error('The operation was aborted', { cause: canceled('the caller went away') }), {
    name: 'AbortError',
    code: 'ABORT_ERR',
  });
  assert.deepEqual(statusOf(abort), { code: grpc.CANCELLED, message: 'the caller went away' });
});
