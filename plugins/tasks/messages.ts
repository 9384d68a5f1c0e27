/** Messages of containerd.services.tasks.v1 from what the contract says, and back. */
import type { Any } from '../../api/gen/google/protobuf/any.js';
import { type Process, type ProcessInfo, Status } from '../../api/gen/types/task.js';
import type { DeletedProcess, ProcessState, ProcessStatus, TaskProcess } from '../../kernel/contracts/runtime.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { invalidArgument } from '../../kernel/errors.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

const STATUSES: Readonly<Record<ProcessStatus, Status>> = {
  unknown: Status.UNKNOWN,
  created: Status.CREATED,
  running: Status.RUNNING,
  stopped: Status.STOPPED,
  paused: Status.PAUSED,
  pausing: Status.PAUSING,
};

export const toAny = ({ typeUrl, value }: AnyMessage): Any => ({ typeUrl, value });

/** INVALID_ARGUMENT when the field is not there. */
export function need<T>(message: T | undefined, what: string): T {
  if (message === undefined) throw invalidArgument(`${what} is required`);
  return message;
}

export const toProcess = ({ id, execId, pid, status, exit, ...stdio }: ProcessState): Process => ({
  containerId: id,
  id: execId || id,
  pid,
  status: STATUSES[status],
  stdin: stdio.stdin,
  stdout: stdio.stdout,
  stderr: stdio.stderr,
  terminal: stdio.terminal,
  exitStatus: exit?.exitStatus ?? 0,
  exitedAt: exit && toTimestamp(exit.exitedAt),
});

export const toDeleted = (id: string, { pid, exitStatus, exitedAt }: DeletedProcess) => ({
  id,
  pid,
  exitStatus,
  exitedAt: toTimestamp(exitedAt),
});

export const toProcessInfo = ({ pid, info }: TaskProcess): ProcessInfo => ({ pid, info: info && toAny(info) });
