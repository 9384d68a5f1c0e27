/** What a supervisor is told when it is started: its command line. */
import { parseArgs } from 'node:util';
import { invalidArgument } from '../../kernel/errors.js';
import { checkIdentifier } from '../identifier.js';

export interface SupervisorSettings {
  readonly namespace: string;
  /** Which tasks of the namespace are its own. */
  readonly group: string;
  /** Directory that holds the bundles of the namespace. */
  readonly bundles: string;
  /** Default OCI runtime: a name or an absolute path. */
  readonly binary: string;
  /** Default root of that runtime, without the namespace. */
  readonly runtimeRoot: string;
  readonly systemdCgroup: boolean;
  /** Milliseconds one run of the OCI runtime may take. */
  readonly deadline: number;
  /** Socket of containerd's ttrpc event service, to which events are sent; absent: they wait to be fetched. */
  readonly publish?: string | undefined;
  /** File that lists descriptors it inherits, see kept.ts; absent for none. */
  readonly kept?: string | undefined;
}

const OPTIONS = {
  namespace: { type: 'string' },
  group: { type: 'string' },
  bundles: { type: 'string' },
  binary: { type: 'string' },
  'runtime-root': { type: 'string' },
  'systemd-cgroup': { type: 'boolean' },
  deadline: { type: 'string' },
  publish: { type: 'string' },
  kept: { type: 'string' },
} as const;

export function toArguments(settings: SupervisorSettings): string[] {
  const { namespace, group, bundles, binary, runtimeRoot, systemdCgroup, deadline, publish, kept } = settings;
  return [
    `--namespace=${namespace}`,
    `--group=${group}`,
    `--bundles=${bundles}`,
    `--binary=${binary}`,
    `--runtime-root=${runtimeRoot}`,
    `--deadline=${deadline}`,
    ...(systemdCgroup ? ['--systemd-cgroup'] : []),
    ...(publish === undefined ? [] : [`--publish=${publish}`]),
    ...(kept === undefined ? [] : [`--kept=${kept}`]),
  ];
}

/** INVALID_ARGUMENT when something is missing. */
export function fromArguments(args: readonly string[]): SupervisorSettings {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const need = (key: 'namespace' | 'group' | 'bundles' | 'binary' | 'runtime-root'): string => {
    const value = values[key];
    if (!value) throw invalidArgument(`option --${key} is missing`);
    return value;
  };
  const deadline = Number(values.deadline);
  if (!(deadline > 0)) throw invalidArgument(`option --deadline is "${values.deadline}", expected milliseconds`);
  return {
    namespace: checkIdentifier(need('namespace'), 'namespace'),
    group: need('group'),
    bundles: need('bundles'),
    binary: need('binary'),
    runtimeRoot: need('runtime-root'),
    systemdCgroup: values['systemd-cgroup'] ?? false,
    deadline,
    publish: values.publish,
    kept: values.kept,
  };
}
