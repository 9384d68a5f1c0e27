/**
 * What a hostile peer may send, to either end: frames that are valid, nearly so
 * and not at all, in any order, cut anywhere. Each end answers or refuses in
 * terms of the taxonomy and has nothing open in the end. FUZZ_SEED replays a run.
 */
import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { Any } from '../../api/gen/google/protobuf/any.js';
import { type Call, implement } from '../rpc/definition.js';
import { isExpected } from '../rpc/status.js';
import { TtrpcClient } from './client.js';
import { encodeFrame, FRAME_DATA, FRAME_REQUEST, FRAME_RESPONSE, type Frame, FrameReader } from './frame.js';
import { decodeResponse, encodeRequest, encodeResponse } from './messages.js';
import { createTtrpcServer } from './server.js';

const RUNS = { numRuns: 50_000, seed: Number(process.env.FUZZ_SEED ?? 20_261_129) };

/** A connection of which the test is the other end. */
class Wire extends Socket {
  readonly #sent: Buffer[] = [];

  /** The peer sends that. */
  feed(bytes: Uint8Array): void {
    this.push(bytes);
  }

  /** The frames that were sent to the peer; whole ones, and nothing else. */
  frames(): Frame[] {
    const reader = new FrameReader();
    return [...reader.push(Buffer.concat(this.#sent))].map((frame) =>
      'oversized' in frame ? assert.fail('a frame that nobody may send') : frame,
    );
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#sent.push(chunk);
    done();
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.#sent.push(chunk);
    done();
  }

  override _final(done: () => void): void {
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    // As of a socket, which leaves that to its handle.
    process.nextTick(() => this.emit('close', error !== null));
  }
}

const method = <const Q extends boolean, const S extends boolean>(
  name: string,
  requestStream: Q,
  responseStream: S,
) => ({ name, requestType: Any, requestStream, responseType: Any, responseStream });

const FuzzedDefinition = {
  fullName: 'test.v1.Fuzzed',
  methods: {
    echo: method('Echo', false, false),
    hang: method('Hang', false, false),
    count: method('Count', false, true),
    join: method('Join', true, false),
    chat: method('Chat', true, true),
  },
} as const;

const any = (typeUrl: string): Any => ({ typeUrl, value: Buffer.alloc(0) });

const bytesOfAny = fc
  .record({ typeUrl: fc.string({ maxLength: 4 }), value: fc.uint8Array({ maxLength: 4 }) })
  .map((message) => Buffer.from(Any.encode({ ...message, value: Buffer.from(message.value) }).finish()));

const noise = fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes));

/** Bytes of which some are others, or missing at the end. */
const spoilt = (valid: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(valid, fc.nat(), fc.nat(255), fc.boolean()).map(([bytes, at, by, isCut]) => {
    if (bytes.length === 0) return bytes;
    const place = at % bytes.length;
    if (isCut) return bytes.subarray(0, place);
    const changed = Buffer.from(bytes);
    changed[place] = by;
    return changed;
  });

const mostly = (valid: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.oneof({ weight: 6, arbitrary: valid }, { weight: 2, arbitrary: spoilt(valid) }, { weight: 1, arbitrary: noise });

const request = fc
  .record({
    service: fc.oneof(
      { weight: 8, arbitrary: fc.constant('test.v1.Fuzzed') },
      fc.constantFrom('test.v1.None', '__proto__'),
    ),
    method: fc.constantFrom('Echo', 'Hang', 'Count', 'Join', 'Chat', 'None', 'constructor'),
    payload: mostly(bytesOfAny),
    timeoutNano: fc.constantFrom(0n, 0n, 1n, -1n, 2n ** 62n),
    metadata: fc.array(fc.tuple(fc.constantFrom('a', '__proto__', 'containerd-namespace-ttrpc'), fc.string()), {
      maxLength: 2,
    }),
  })
  .map((given) => Buffer.from(encodeRequest(given)));

const response = fc
  .record({
    status: fc.option(fc.record({ code: fc.constantFrom(0, 1, 2, 5, 13, 16, 99, -1), message: fc.string() }), {
      nil: undefined,
    }),
    payload: mostly(bytesOfAny),
  })
  .map(({ status, payload }) => Buffer.from(encodeResponse(status === undefined ? { payload } : { status, payload })));

/** More often than others: most of the rest is refused without one. */
const REQUESTS = [FRAME_REQUEST, FRAME_REQUEST, FRAME_REQUEST, FRAME_REQUEST];

/** The bytes of some frames, a few spoilt, in pieces. */
const pieces = (data: fc.Arbitrary<Buffer>): fc.Arbitrary<readonly Buffer[]> => {
  const frame = fc.record({
    // Absent: the next one that a client would take.
    stream: fc.option(fc.constantFrom(1, 3, 5, 7, 9, 0, 2, 2 ** 31 + 1, 2 ** 32 - 1), { nil: undefined }),
    type: fc.constantFrom(...REQUESTS, FRAME_RESPONSE, FRAME_RESPONSE, FRAME_DATA, FRAME_DATA, 0, 77),
    flags: fc.nat(7),
    data,
  });
  const sequence = fc
    .array(frame, { maxLength: 6 })
    .map((frames) =>
      Buffer.concat(
        frames.flatMap(({ stream, ...rest }, index) => encodeFrame({ stream: stream ?? 2 * index + 1, ...rest })),
      ),
    );
  const bytes = fc.oneof({ weight: 5, arbitrary: sequence }, { weight: 1, arbitrary: spoilt(sequence) });
  return fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 3 })).map(([all, cuts]) => {
    const places = [0, ...cuts.map((cut) => cut % (all.length + 1)).sort((a, b) => a - b), all.length];
    return places.slice(1).map((end, index) => all.subarray(places[index], end));
  });
};

function feedAll(wire: Wire, chunks: readonly Buffer[]): void {
  for (const chunk of chunks) if (chunk.length > 0) wire.feed(chunk);
}

/** Until whatever was begun has had its turns. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await turn();
}

describe('a ttrpc server', () => {
  it('answers whatever a client sends in terms of the taxonomy, and lets go of it with the connection', async () => {
    const calls = new Set<Call>();
    const failures: unknown[] = [];
    let answered = 0;
    const enter = (call: Call): void => {
      calls.add(call);
      call.signal.addEventListener('abort', () => calls.delete(call), { once: true });
    };
    const fuzzed = implement(FuzzedDefinition, {
      async echo(message) {
        return message;
      },
      hang(_message, call) {
        enter(call);
        return new Promise(() => {});
      },
      async *count({ typeUrl }) {
        for (const part of typeUrl) yield any(part);
      },
      async join(messages) {
        let joined = '';
        for await (const { typeUrl } of messages) joined += typeUrl;
        return any(joined);
      },
      async *chat(messages, call) {
        enter(call);
        for await (const message of messages) yield message;
      },
    });
    const server = createTtrpcServer([fuzzed], (error) => failures.push(error));
    await fc.assert(
      fc.asyncProperty(pieces(mostly(request)), async (chunks) => {
        const wire = new Wire();
        server.server.emit('connection', wire);
        feedAll(wire, chunks);
        await settle();
        for (const { type, data } of wire.frames()) {
          assert.ok(type === FRAME_RESPONSE || type === FRAME_DATA, `type ${type}`);
          if (type === FRAME_DATA || decodeResponse(data).status === undefined) answered++;
        }
        wire.destroy();
        await turn();
        assert.equal(server.connections, 0);
        assert.equal(calls.size, 0, 'no call goes on');
        assert.deepEqual(failures, [], 'nothing that a client sends is a failure of ours');
      }),
      RUNS,
    );
    assert.ok(answered > RUNS.numRuns / 20, `${answered} good answers: it is not all noise`);
  });
});

const outcomeOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error) => error,
  );

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

async function* twice(): AsyncGenerator<Any> {
  yield any('a');
  yield any('b');
}

describe('a ttrpc client', () => {
  it('has an answer or an error of the taxonomy for each call, whatever its server sends', async () => {
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(pieces(mostly(response)), async (chunks) => {
        const wire = new Wire();
        const client = new TtrpcClient(wire, 'fuzzed');
        const stub = client.stub(FuzzedDefinition);
        // Streams 1, 3, 5, 7 and 9, in this order.
        const outcomes = Promise.all(
          [
            stub.echo(any('x')),
            drain(stub.count(any('x'))),
            stub.join(twice()),
            drain(stub.chat(twice())),
            stub.hang(any('x')),
          ].map(outcomeOf),
        );
        await turn();
        feedAll(wire, chunks);
        await settle();
        wire.destroy();
        for (const error of await outcomes) {
          assert.ok(error === undefined || isExpected(error), `an error of the taxonomy, not ${String(error)}`);
        }
        await client.ended;
        for (const error of await outcomes) if (error === undefined) answered++;
      }),
      RUNS,
    );
    assert.ok(answered > RUNS.numRuns / 20, `${answered} good answers: it is not all noise`);
  });
});
