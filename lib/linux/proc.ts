/** What /proc tells of processes: proc_pid_stat(5), proc_pid_cgroup(5). */
import { readKernelFile } from './kernel-file.js';

/** The file's text; undefined when the process is gone. */
function readProc(pid: number, file: string): string | undefined {
  try {
    return readKernelFile(`/proc/${pid}/${file}`);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}

export interface ProcessStat {
  /** One letter; `Z` for a zombie. */
  readonly state: string;
  /** Number of the session, which is that of the process that made it. */
  readonly session: number;
  /** Clock ticks between boot and the start of the process: with its number, which process it is. */
  readonly startTime: string;
  /** Status word of wait(2); meaningful for a zombie, and readable to root. */
  readonly exitCode: number;
}

/** undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  const text = readProc(pid, 'stat');
  if (text === undefined) return undefined;
  // The second field is the name in brackets, which may hold anything.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .trim()
    .split(' ');
  return {
    state: fields[0] ?? '',
    session: Number(fields[3]),
    startTime: fields[19] ?? '',
    exitCode: Number(fields[49] ?? 0),
  };
}

/** Path of the process's control group by controller; the unified hierarchy (version 2) has the empty name. */
export function readControlGroups(pid: number): ReadonlyMap<string, string> | undefined {
  const text = readProc(pid, 'cgroup');
  return text === undefined ? undefined : parseControlGroups(text);
}

/** As {@link readControlGroups}, of the text of that file. */
export function parseControlGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.trim().split('\n')) {
    const [, controllers = '', ...path] = line.split(':');
    for (const controller of controllers.split(',')) groups.set(controller, path.join(':'));
  }
  return groups;
}
