/** What a shim's program reads when it is started, and what it answers: three generations of each. */

import { Any } from '../../api/gen/google/protobuf/any.js';
import { BootstrapParams, BootstrapResult } from '../../api/gen/runtime/bootstrap.js';
import { unavailable, unimplemented } from '../../kernel/errors.js';
import type { AnyMessage } from '../../lib/rpc/any.js';

/** Newest version of the Task service that is spoken here. */
const NEWEST = 3;

export type ShimProtocol = 'ttrpc' | 'grpc';

/** Where a shim is reached, and how. */
export interface ShimEndpoint {
  /** Version of the Task service. */
  readonly version: number;
  /** Path of a unix socket. */
  readonly socket: string;
  readonly protocol: ShimProtocol;
}

export interface StartInput {
  readonly id: string;
  readonly namespace: string;
  readonly options: AnyMessage | undefined;
  readonly grpcAddress: string;
  readonly ttrpcAddress: string;
  /** Program with a `publish` command. */
  readonly publishBinary: string;
}

/** Up to containerd 2.2: the runtime's options as a bare Any, or nothing. */
export const optionsInput = ({ options }: StartInput): Uint8Array =>
  options === undefined ? new Uint8Array() : Any.encode({ typeUrl: options.typeUrl, value: options.value }).finish();

/** Since containerd 2.3: BootstrapParams, the options as an extension. */
export const bootstrapInput = (input: StartInput): Uint8Array =>
  BootstrapParams.encode(
    BootstrapParams.fromPartial({
      instanceId: input.id,
      namespace: input.namespace,
      containerdVersion: '2.3.0',
      containerdTtrpcAddress: input.ttrpcAddress,
      containerdGrpcAddress: input.grpcAddress,
      containerdBinary: input.publishBinary,
      ...(input.options && {
        extensions: [{ value: { typeUrl: input.options.typeUrl, value: input.options.value } }],
      }),
    }),
  ).finish();

interface Answer {
  readonly version: number;
  readonly address: string;
  readonly protocol: string;
}

function fromProtobuf(bytes: Uint8Array): Answer | undefined {
  try {
    const { version, address, protocol } = BootstrapResult.decode(bytes);
    return address === '' ? undefined : { version, address, protocol };
  } catch {
    // It is one of the older forms.
    return undefined;
  }
}

function fromJson(text: string): Answer | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('address' in value)) return undefined;
    const version = 'version' in value && typeof value.version === 'number' ? value.version : NEWEST;
    const protocol = 'protocol' in value && typeof value.protocol === 'string' ? value.protocol : 'ttrpc';
    return { version, address: String(value.address), protocol };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const fromPlain = (text: string): Answer | undefined =>
  /^(?:[a-z+]+:\/\/)?\/\S+$/.test(text) ? { version: 2, address: text, protocol: 'ttrpc' } : undefined;

function toEndpoint({ version, address, protocol }: Answer): ShimEndpoint {
  const [, scheme = 'unix', socket = ''] = /^(?:([a-z]+):\/\/)?(.*)$/s.exec(address) ?? [];
  if (scheme !== 'unix') throw unimplemented(`a shim at "${address}": only unix sockets are spoken to`);
  if (version < 2 || version > NEWEST) throw unimplemented(`version ${version} of the Task service`);
  if (protocol !== 'ttrpc' && protocol !== 'grpc') throw unimplemented(`shim protocol "${protocol}"`);
  return { version, socket, protocol };
}

/**
 * The endpoint in what a shim's program printed: binary BootstrapResult, JSON,
 * or a plain address, which means version 2 over ttrpc. Lines before the last
 * are taken for noise. UNAVAILABLE when it is none of these.
 */
export function parseAnswer(output: Buffer): ShimEndpoint {
  const binary = fromProtobuf(output);
  if (binary !== undefined) return toEndpoint(binary);
  const lines = output
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim());
  const last = lines.findLast((line) => line !== '') ?? '';
  const answer = fromJson(last) ?? fromPlain(last);
  if (answer !== undefined) return toEndpoint(answer);
  throw unavailable(`the shim printed no address but "${output.toString('utf8').slice(0, 200)}"`);
}

/** As `bootstrap.json` of a bundle, where a later daemon reads it. */
export const formatEndpoint = ({ version, socket, protocol }: ShimEndpoint): string =>
  JSON.stringify({ version, address: `unix://${socket}`, protocol });
