/** Sandboxes: `containerd.types.Sandbox` on the wire. */
import { invalidArgument } from '../../kernel/errors.js';
import type { AnyMessage } from './any.js';
import { type TimestampMessage, toTimestamp } from './timestamp.js';

interface AnyWire {
  typeUrl: string;
  value: Uint8Array;
}

/** containerd.types.Sandbox. */
export interface SandboxMessage {
  sandboxId: string;
  runtime: { name: string; options: AnyWire | undefined } | undefined;
  spec: AnyWire | undefined;
  labels: { [key: string]: string };
  createdAt: TimestampMessage | undefined;
  updatedAt: TimestampMessage | undefined;
  extensions: { [key: string]: AnyWire };
  sandboxer: string;
}

export interface WireSandbox {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly runtime: { readonly name: string; readonly options?: AnyMessage };
  readonly spec?: AnyMessage;
  readonly extensions: Readonly<Record<string, AnyMessage>>;
  readonly sandboxer: string;
}

/** Times that a record has, and a sandbox that is asked for has not. */
interface Times {
  readonly createdAt?: bigint;
  readonly updatedAt?: bigint;
}

export const toAny = ({ typeUrl, value }: AnyMessage): AnyWire => ({ typeUrl, value });

export const toSandboxMessage = (sandbox: WireSandbox & Times): SandboxMessage => ({
  sandboxId: sandbox.id,
  runtime: { name: sandbox.runtime.name, options: sandbox.runtime.options && toAny(sandbox.runtime.options) },
  spec: sandbox.spec && toAny(sandbox.spec),
  labels: { ...sandbox.labels },
  createdAt: sandbox.createdAt === undefined ? undefined : toTimestamp(sandbox.createdAt),
  updatedAt: sandbox.updatedAt === undefined ? undefined : toTimestamp(sandbox.updatedAt),
  extensions: Object.fromEntries(Object.entries(sandbox.extensions).map(([key, any]) => [key, toAny(any)])),
  sandboxer: sandbox.sandboxer,
});

/** INVALID_ARGUMENT without a message. Absent parts become empty ones. */
export function fromSandboxMessage(message: SandboxMessage | undefined): WireSandbox {
  if (message === undefined) throw invalidArgument('sandbox is required');
  const { sandboxId, runtime, spec, labels, extensions, sandboxer } = message;
  return {
    id: sandboxId,
    labels,
    runtime: { name: runtime?.name ?? '', ...(runtime?.options && { options: runtime.options }) },
    ...(spec && { spec }),
    extensions,
    sandboxer,
  };
}
