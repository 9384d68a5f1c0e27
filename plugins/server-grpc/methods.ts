/** Methods of service definitions and their handlers, however a call of one comes in. */
import { internal, invalidArgument } from '../../kernel/errors.js';
import type { Call, MethodDefinition } from '../../lib/rpc/definition.js';
import { isExpected, statusOf } from '../../lib/rpc/status.js';
import type { ServerCall } from './call.js';
import type { Calls } from './calls.js';

/** A handler whose types were checked by `implement` and are erased by now. */
export type Invoke = (request: unknown, call: Call) => unknown;

export interface Method {
  readonly path: string;
  readonly definition: MethodDefinition;
  readonly invoke: Invoke;
}

/** How a call ends. */
export interface Status {
  readonly code: number;
  readonly details: string;
}

/** Characters. A status travels in a header, and clients bound those. */
const MAX_DETAILS = 4096;

const describe = (message: string): string => message.slice(0, MAX_DETAILS).toWellFormed();

export const decode = ({ definition, path }: Method, bytes: Buffer): unknown => {
  try {
    return definition.requestType.decode(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`the request of "${path}" does not decode: ${why}`, { cause });
  }
};

export const encode = ({ definition }: Method, message: unknown): Buffer => {
  const bytes = definition.responseType.encode(message).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

export function responses(method: Method, value: unknown): AsyncIterable<unknown> {
  if (isAsyncIterable(value)) return value;
  throw internal(`the handler of "${method.path}" returned no async iterable`);
}

/** Runs a handler to its end, whatever that is. */
export async function run(
  calls: Calls,
  call: ServerCall,
  handler: () => Promise<void>,
  fail: (failure: Status) => void,
) {
  try {
    await handler();
    calls.close(call);
  } catch (thrown) {
    const error = call.signal.aborted && !isExpected(thrown) ? call.signal.reason : thrown;
    const { code, message } = statusOf(error);
    if (!isExpected(error)) calls.fault(call, error);
    calls.close(call);
    fail({ code, details: describe(message) });
  }
}
