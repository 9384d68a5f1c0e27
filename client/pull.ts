/** Pulling through the daemon: one Transfer call, with streams beside it for progress and credentials. */
import { randomUUID } from 'node:crypto';
import { StreamInit } from '../api/gen/services/streaming.js';
import { AuthRequest, AuthResponse, AuthType, ImageStore, OCIRegistry, Progress } from '../api/gen/types/transfer.js';
import { unavailable } from '../kernel/errors.js';
import { type AnyMessage, packAny, unpackAny } from '../lib/rpc/any.js';
import type { Client } from './connect.js';

export interface PullPlatform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface RegistryCredentials {
  /** Empty when `secret` is a refresh token. */
  readonly username: string;
  readonly secret: string;
}

export interface PullRequest {
  /** A full reference, host and tag or digest included. */
  readonly reference: string;
  /** Name of the image; the reference by default. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Every platform when empty or absent. */
  readonly platforms?: readonly PullPlatform[];
  /** What to unpack, and for which snapshotter (empty: the daemon's default); nothing by default. */
  readonly unpack?: readonly { readonly platform: PullPlatform; readonly snapshotter: string }[];
  /** Use http where no configuration of the daemon says otherwise. */
  readonly plainHttp?: boolean;
  /** Directory of hosts.toml files, on the daemon's machine. */
  readonly hostsDirectory?: string;
  /** Asked when a registry wants to know who asks; undefined means anonymous. */
  readonly credentials?: (host: string) => Promise<RegistryCredentials | undefined>;
  /** Called for each message of the daemon, in order. */
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting it cancels the pull. */
  readonly signal?: AbortSignal;
}

/** One open stream; ends with `close`, or when the daemon ends it. */
interface OpenStream {
  readonly id: string;
  /** What the daemon sends, after its confirmation. */
  readonly messages: AsyncIterable<AnyMessage>;
  send(message: AnyMessage): void;
  close(): void;
}

/** Requests that are produced while the call runs. */
class Outbox {
  readonly #waiting: AnyMessage[] = [];
  #wake: () => void = () => {};
  #closed = false;

  send(message: AnyMessage): void {
    this.#waiting.push(message);
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *messages(): AsyncIterable<AnyMessage> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else if (this.#closed) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

/** Opens a stream and resolves once the daemon knows it by its id. */
async function openStream(client: Client, purpose: string, signal: AbortSignal): Promise<OpenStream> {
  const id = `${purpose}-${randomUUID()}`;
  const outbox = new Outbox();
  outbox.send(packAny(StreamInit, { id }));
  const incoming = client.streaming.stream(outbox.messages(), { signal });
  const { done } = await incoming.next();
  if (done) throw unavailable(`the daemon ended the stream "${id}" at once`);
  return { id, messages: incoming, send: (message) => outbox.send(message), close: () => outbox.close() };
}

async function report({ messages }: OpenStream, onProgress: (progress: Progress) => void): Promise<void> {
  for await (const message of messages) onProgress(unpackAny(Progress, message));
}

async function answer(stream: OpenStream, ask: NonNullable<PullRequest['credentials']>): Promise<void> {
  for await (const message of stream.messages) {
    const found = await ask(unpackAny(AuthRequest, message).host);
    const authType = !found ? AuthType.NONE : found.username === '' ? AuthType.REFRESH : AuthType.CREDENTIALS;
    const { username = '', secret = '' } = found ?? {};
    stream.send(packAny(AuthResponse, { authType, username, secret, expireAt: undefined }));
  }
}

const toPlatform = ({ os, architecture, variant = '' }: PullPlatform) => ({
  os,
  architecture,
  variant,
  osVersion: '',
  osFeatures: [],
});

/**
 * Pulls an image, unpacks it where asked, and resolves once the daemon has
 * recorded it. Errors are the daemon's, by the taxonomy.
 */
export async function pullImage(client: Client, request: PullRequest): Promise<void> {
  const { onProgress, credentials } = request;
  const done = new AbortController();
  const signal = request.signal ? AbortSignal.any([request.signal, done.signal]) : done.signal;
  const beside: Promise<void>[] = [];
  const open = async (purpose: string, work: (stream: OpenStream) => Promise<void>): Promise<string> => {
    const stream = await openStream(client, purpose, signal);
    beside.push(work(stream).finally(() => stream.close()));
    return stream.id;
  };
  try {
    const progressStream = onProgress ? await open('progress', (stream) => report(stream, onProgress)) : '';
    const reported = beside.at(-1);
    const authStream = credentials ? await open('auth', (stream) => answer(stream, credentials)) : '';
    const transfer = client.transfer.transfer(
      {
        source: packAny(OCIRegistry, toRegistry(request, authStream)),
        destination: packAny(ImageStore, toStore(request)),
        options: { progressStream },
      },
      { signal },
    );
    // A call-back that throws ends the pull; a stream that merely ends does not.
    await Promise.race([transfer, ...beside.map((work) => work.then(() => transfer))]);
    // The daemon ends this stream after its last message.
    await reported;
  } finally {
    done.abort();
    await Promise.allSettled(beside);
  }
}

const toRegistry = ({ reference, plainHttp, hostsDirectory = '' }: PullRequest, authStream: string): OCIRegistry => ({
  reference,
  resolver: {
    authStream,
    headers: {},
    hostDir: hostsDirectory,
    defaultScheme: plainHttp ? 'http' : '',
    httpDebug: 0,
    logsStream: '',
  },
});

const toStore = ({ reference, name = reference, labels, platforms = [], unpack = [] }: PullRequest): ImageStore => ({
  name,
  labels: { ...labels },
  platforms: platforms.map(toPlatform),
  allMetadata: false,
  manifestLimit: 0,
  extraReferences: [],
  unpacks: unpack.map(({ platform, snapshotter }) => ({ platform: toPlatform(platform), snapshotter })),
});
