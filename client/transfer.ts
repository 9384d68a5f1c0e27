/** One Transfer call with streams beside it: progress, credentials, bytes. */
import { randomUUID } from 'node:crypto';
import { StreamInit } from '../api/gen/services/streaming.js';
import { AuthRequest, AuthResponse, AuthType, OCIRegistry, Progress } from '../api/gen/types/transfer.js';
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

/** What every transfer may be given. */
export interface TransferOptions {
  /** Called for each message of the daemon, in order. */
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting it cancels the transfer. */
  readonly signal?: AbortSignal;
}

/** How the daemon is to reach a registry. */
export interface RegistryOptions {
  /** A full reference, host and tag or digest included. */
  readonly reference: string;
  /** Use http where no configuration of the daemon says otherwise. */
  readonly plainHttp?: boolean;
  /** Directory of hosts.toml files, on the daemon's machine. */
  readonly hostsDirectory?: string;
  /** Asked when a registry wants to know who asks; undefined means anonymous. */
  readonly credentials?: (host: string) => Promise<RegistryCredentials | undefined>;
}

/** One open stream; ends with `close`, or when the daemon ends it. */
export interface OpenStream {
  readonly id: string;
  /** What the daemon sends, after its confirmation. */
  readonly messages: AsyncIterableIterator<AnyMessage>;
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

async function answer(stream: OpenStream, ask: NonNullable<RegistryOptions['credentials']>): Promise<void> {
  for await (const message of stream.messages) {
    const found = await ask(unpackAny(AuthRequest, message).host);
    const authType = !found ? AuthType.NONE : found.username === '' ? AuthType.REFRESH : AuthType.CREDENTIALS;
    const { username = '', secret = '' } = found ?? {};
    stream.send(packAny(AuthResponse, { authType, username, secret, expireAt: undefined }));
  }
}

export const toPlatform = ({ os, architecture, variant = '' }: PullPlatform) => ({
  os,
  architecture,
  variant,
  osVersion: '',
  osFeatures: [],
});

/** A transfer that is being prepared: its streams are opened first. */
export interface Transferring {
  /** Opens a stream, runs `work` on it beside the call, and resolves to its id. */
  open(purpose: string, work: (stream: OpenStream) => Promise<void>): Promise<string>;
  /** The registry as the other side of the transfer, with a stream for credentials where the caller has some. */
  registry(options: RegistryOptions): Promise<AnyMessage>;
}

/**
 * Calls Transfer with the source and destination that `prepare` makes, and
 * resolves once the daemon has done it and everything beside it has ended.
 * Errors are the daemon's, by the taxonomy, or those of the work beside.
 */
export async function runTransfer(
  client: Client,
  { onProgress, signal: outer }: TransferOptions,
  prepare: (transfer: Transferring) => Promise<{ readonly source: AnyMessage; readonly destination: AnyMessage }>,
): Promise<void> {
  const done = new AbortController();
  const signal = outer ? AbortSignal.any([outer, done.signal]) : done.signal;
  const beside: Promise<void>[] = [];
  const waitedFor: Promise<void>[] = [];
  const begin = async (purpose: string, work: (stream: OpenStream) => Promise<void>) => {
    const stream = await openStream(client, purpose, signal);
    const ended = work(stream).finally(() => stream.close());
    beside.push(ended);
    return { id: stream.id, ended };
  };
  const open = async (purpose: string, work: (stream: OpenStream) => Promise<void>): Promise<string> => {
    const { id, ended } = await begin(purpose, work);
    waitedFor.push(ended);
    return id;
  };
  const registry = async (options: RegistryOptions): Promise<AnyMessage> => {
    const { credentials } = options;
    const { id: authStream } = credentials ? await begin('auth', (stream) => answer(stream, credentials)) : { id: '' };
    return packAny(OCIRegistry, toRegistry(options, authStream));
  };
  try {
    const progressStream = onProgress ? await open('progress', (stream) => report(stream, onProgress)) : '';
    const { source, destination } = await prepare({ open, registry });
    const transfer = client.transfer.transfer({ source, destination, options: { progressStream } }, { signal });
    // A call-back that throws ends the transfer; a stream that merely ends does not.
    await Promise.race([transfer, ...beside.map((work) => work.then(() => transfer))]);
    // The daemon ends these after their last message.
    await Promise.all(waitedFor);
  } finally {
    done.abort();
    await Promise.allSettled(beside);
  }
}

const toRegistry = (
  { reference, plainHttp, hostsDirectory = '' }: RegistryOptions,
  authStream: string,
): OCIRegistry => ({
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
