/** A shim's program: found by the runtime's name, run to start and to clean up. */
import { statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { DeleteResponse } from '../../api/gen/runtime/task-v3.js';
import { RuntimeInfo } from '../../api/gen/types/introspection.js';
import { deadlineExceeded, failedPrecondition, invalidArgument, notFound, unavailable } from '../../kernel/errors.js';
import { type RunResult, run } from '../../lib/linux/run.js';
import { killSession, leftSession } from '../../lib/linux/session.js';
import { bootstrapInput, optionsInput, parseAnswer, type ShimEndpoint, type StartInput } from './bootstrap.js';

const PREFIX = 'containerd-shim-';

/** Of the Task service, as containerd tells shims. */
const MAX_SHIM_VERSION = '2';

function isExecutable(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && (stat.mode & 0o111) !== 0;
}

/**
 * `io.containerd.runc.v2` is `containerd-shim-runc-v2` in PATH; an absolute path
 * is itself. INVALID_ARGUMENT for a name that is neither; NOT_FOUND.
 */
export function findShim(runtime: string): string {
  if (runtime.startsWith('/')) {
    if (isExecutable(runtime)) return runtime;
    throw notFound(`shim "${runtime}" is missing or not executable`, { remedy: 'install it' });
  }
  const parts = runtime.split('.');
  if (parts.length < 2 || !parts.every((part) => /^[A-Za-z0-9_-]+$/.test(part))) {
    throw invalidArgument(`runtime "${runtime}" is no name of a shim`, {
      remedy: 'use a form like io.containerd.runc.v2, or an absolute path',
    });
  }
  const name = `${PREFIX}${parts.at(-2)}-${parts.at(-1)}`;
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find(isExecutable);
  if (found?.startsWith('/')) return found;
  throw notFound(`runtime "${runtime}" needs the program "${name}", which is not in PATH`, { remedy: 'install it' });
}

export interface ShimCommand extends StartInput {
  readonly path: string;
  readonly bundle: string;
  /** `KEY=value` pairs added to the environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly deadline: number;
}

const inherited: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
);

function environmentOf({ environment, ttrpcAddress, grpcAddress, namespace }: ShimCommand): Record<string, string> {
  return {
    ...inherited,
    TTRPC_ADDRESS: ttrpcAddress,
    GRPC_ADDRESS: grpcAddress,
    NAMESPACE: namespace,
    MAX_SHIM_VERSION,
    GOMAXPROCS: '2',
    ...environment,
  };
}

function invoke(command: ShimCommand, args: readonly string[], input: Uint8Array): Promise<RunResult> {
  const { path, bundle, id, namespace, grpcAddress, publishBinary, deadline } = command;
  const flags = ['-namespace', namespace, '-address', grpcAddress, '-publish-binary', publishBinary, '-id', id];
  const env = environmentOf(command);
  return run({ path, args: [...flags, ...args], env, cwd: bundle, input, session: true, deadline });
}

const complaint = ({ exitStatus, stderr, stdout }: RunResult): string =>
  stderr.toString('utf8').trim().slice(0, 2000) ||
  stdout.toString('utf8').trim().slice(0, 2000) ||
  `exit status ${exitStatus}`;

/** Which input a program understands; the older one first, since it is what most read, or do not mind. */
const inputs = new Map<string, readonly ((input: StartInput) => Uint8Array)[]>();

export interface StartedShim extends ShimEndpoint {
  /** Kills what the program has started and left behind, for a shim that does not end when it is told to. */
  abandon(): void;
}

/**
 * Runs `start`: makes the shim serve, or finds one that does already. Programs
 * differ in what they want to read; the other form is tried when one fails.
 * UNAVAILABLE with what the program said; DEADLINE_EXCEEDED.
 */
export async function startShim(command: ShimCommand): Promise<StartedShim> {
  const forms = inputs.get(command.path) ?? [optionsInput, bootstrapInput];
  const complaints: string[] = [];
  for (const form of forms) {
    const result = await invoke(command, ['start'], form(command));
    const session = leftSession(result.pid);
    try {
      if (result.late) throw deadlineExceeded(`shim "${command.path}" did not start within ${command.deadline} ms`);
      if (result.exitStatus === 0) {
        inputs.set(command.path, [form, ...forms.filter((other) => other !== form)]);
        return { ...parseAnswer(result.stdout), abandon: () => killSession(session) };
      }
    } catch (error) {
      killSession(session);
      throw error;
    }
    killSession(session);
    complaints.push(complaint(result));
  }
  throw unavailable(`shim "${command.path}" did not start: ${[...new Set(complaints)].join('; ')}`);
}

/** Runs `delete`: whatever the shim left is removed, and nothing of the program stays. FAILED_PRECONDITION when it fails. */
export async function deleteShim(command: ShimCommand): Promise<DeleteResponse> {
  const result = await invoke(command, ['-bundle', command.bundle, 'delete'], new Uint8Array());
  killSession(leftSession(result.pid));
  if (result.late || result.exitStatus !== 0) {
    throw failedPrecondition(`cleaning up after shim "${command.path}": ${result.late ? 'no end' : complaint(result)}`);
  }
  return DeleteResponse.decode(result.stdout);
}

/** What the program says with `-info`; undefined when it has no such flag. */
export async function shimInfo(path: string, input: Uint8Array, deadline: number): Promise<RuntimeInfo | undefined> {
  const result = await run({ path, args: ['-info'], env: inherited, cwd: '/', input, deadline });
  return result.exitStatus === 0 ? RuntimeInfo.decode(result.stdout) : undefined;
}

/** First line of what the program says with `-v`. */
export async function shimVersion(path: string, deadline: number): Promise<string> {
  const result = await run({ path, args: ['-v'], env: inherited, cwd: '/', deadline });
  const [, version = ''] = /Version:\s*(\S+)/i.exec(result.stdout.toString('utf8')) ?? [];
  return version;
}
