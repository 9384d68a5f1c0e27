import { Empty } from '../../api/gen/google/protobuf/empty.js';
import { StreamInit, StreamingDefinition } from '../../api/gen/services/streaming.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { Streams } from '../../kernel/contracts/streams.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { packAny, unpackAny } from '../../lib/rpc/any.js';
import { type Call, implement } from '../../lib/rpc/definition.js';
import { CallStream } from './call-stream.js';

async function* serve(streams: Streams, requests: AsyncIterable<AnyMessage>, call: Call) {
  const scope = call.scope();
  const incoming = requests[Symbol.asyncIterator]();
  const first = await incoming.next();
  if (first.done) throw invalidArgument('a stream begins with a StreamInit');
  const { id } = unpackAny(StreamInit, first.value);
  const stream = new CallStream(incoming);
  const abort = () => stream.abort();
  streams.register(scope, id, stream);
  call.signal.addEventListener('abort', abort, { once: true });
  try {
    yield packAny(Empty, {});
    for await (const { typeUrl, value } of stream.outgoing()) yield { typeUrl, value };
  } finally {
    streams.unregister(scope, id);
    call.signal.removeEventListener('abort', abort);
    abort();
  }
}

/** containerd.services.streaming.v1.Streaming: a call becomes a stream that other calls find by its id. */
export const plugin = definePlugin({
  id: 'streaming-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'streaming' },
  config: noSettings,
  requires: { streams: Streams },
  provides: { service: GrpcServices },
  start: async ({ deps: { streams } }) => ({
    service: implement(StreamingDefinition, { stream: (requests, call) => serve(streams, requests, call) }),
  }),
});
