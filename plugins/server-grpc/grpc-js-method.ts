/** Turns a method of a service definition and its handler into what grpc-js calls. */
import { once } from 'node:events';
import type {
  Deadline,
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js/build/src/metadata.js';
import type { ServerCall, Surface } from './call.js';
import type { Calls } from './calls.js';
import { decode, encode, type Method, responses, run } from './methods.js';

export interface GrpcMethod {
  readonly kind: 'unary' | 'clientStream' | 'serverStream' | 'bidi';
  readonly handle:
    | handleUnaryCall<Buffer, Buffer>
    | handleClientStreamingCall<Buffer, Buffer>
    | handleServerStreamingCall<Buffer, Buffer>
    | handleBidiStreamingCall<Buffer, Buffer>;
}

/**
 * Messages of the caller, decoded one at a time, only when asked for. They end
 * with the call, also for a handler that left a reader behind.
 */
async function* requests(method: Method, call: ServerCall, stream: ServerReadableStream<Buffer, Buffer>) {
  try {
    for await (const bytes of stream.iterator({ destroyOnReturn: false })) yield decode(method, bytes);
  } catch (error) {
    if (call.settled) return;
    call.signal.throwIfAborted();
    throw error;
  }
}

interface Surroundings {
  readonly metadata: Metadata;
  getDeadline(): Deadline;
  once(event: 'cancelled', listener: () => void): unknown;
}

const surfaceOf = (surroundings: Surroundings): Surface => ({
  header: (key) => surroundings.metadata.get(key)[0]?.toString(),
  getDeadline: () => surroundings.getDeadline(),
  onCancelled: (listener) => void surroundings.once('cancelled', listener),
});

/** Sends every message, no faster than the caller takes them. */
async function sendAll(
  method: Method,
  call: ServerCall,
  stream: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  request: unknown,
): Promise<void> {
  const messages = responses(method, method.invoke(request, call));
  stream.sendMetadata(new Metadata());
  for await (const message of messages) {
    call.signal.throwIfAborted();
    if (!stream.write(encode(method, message))) await once(stream, 'drain', { signal: call.signal });
  }
  call.signal.throwIfAborted();
  stream.end();
}

const unary =
  (calls: Calls, method: Method) => (surface: ServerUnaryCall<Buffer, Buffer>, send: sendUnaryData<Buffer>) => {
    const call = calls.open(method.path, false, surfaceOf(surface));
    const handler = async () => send(null, encode(method, await method.invoke(decode(method, surface.request), call)));
    void run(calls, call, handler, send);
  };

const clientStream =
  (calls: Calls, method: Method) => (surface: ServerReadableStream<Buffer, Buffer>, send: sendUnaryData<Buffer>) => {
    const call = calls.open(method.path, false, surfaceOf(surface));
    const handler = async () => send(null, encode(method, await method.invoke(requests(method, call, surface), call)));
    void run(calls, call, handler, send);
  };

const serverStream = (calls: Calls, method: Method) => (surface: ServerWritableStream<Buffer, Buffer>) => {
  const call = calls.open(method.path, true, surfaceOf(surface));
  const handler = async () => sendAll(method, call, surface, decode(method, surface.request));
  void run(calls, call, handler, (failure) => surface.emit('error', failure));
};

const bidi = (calls: Calls, method: Method) => (surface: ServerDuplexStream<Buffer, Buffer>) => {
  const call = calls.open(method.path, true, surfaceOf(surface));
  const handler = async () => sendAll(method, call, surface, requests(method, call, surface));
  void run(calls, call, handler, (failure) => surface.emit('error', failure));
};

export function grpcMethod(calls: Calls, method: Method): GrpcMethod {
  const { requestStream, responseStream } = method.definition;
  if (requestStream && responseStream) return { kind: 'bidi', handle: bidi(calls, method) };
  if (requestStream) return { kind: 'clientStream', handle: clientStream(calls, method) };
  if (responseStream) return { kind: 'serverStream', handle: serverStream(calls, method) };
  return { kind: 'unary', handle: unary(calls, method) };
}
