/**
 * The supervisor's program. Started in its own directory (0700), whose files
 * are: `s`, the socket it serves; `lock`, held as long as it lives; `log`, its
 * standard error. It tells on descriptor 3 that it serves, by one line, or
 * what went wrong. It takes no notice of hangups and interrupts meant for
 * whoever started it.
 */
import { closeSync, existsSync, realpathSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { failedPrecondition } from '../../../kernel/errors.js';
import { readKernelFile } from '../../../lib/linux/kernel-file.js';
import { lockFile } from '../../../lib/linux/lock.js';
import { becomeSubreaper } from '../../../lib/linux/process.js';
import { tidyAtRest } from '../../../lib/rest.js';
import { NOTHING_KEPT, takeKept } from '../../../lib/supervisor/kept.js';
import { SOCKET } from '../../../lib/supervisor/layout.js';
import { removeNamespaceGroup } from '../../../lib/supervisor/namespace-group.js';
import { fromArguments, type SupervisorSettings } from '../../../lib/supervisor/settings.js';
import { createTtrpcServer, type TtrpcServer } from '../../../lib/ttrpc/server.js';
import { adoptAll } from './adopt.js';
import { controlService } from './control.js';
import { log, logError } from './log.js';
import { Publisher } from './publish.js';
import { taskServices } from './service.js';
import { Supervisor } from './supervisor.js';

const READY = 3;
/** Milliseconds between two looks, also whether anybody still needs this supervisor. */
const IDLE_LOOK = 1000;
/** Looks in a row at which nobody does, after which it ends; more while a containerd is there that may want it again. */
const IDLE_LOOKS = 3;
const IDLE_LOOKS_AS_SHIM = 60;
/** proc_pid_oom_score_adj(5). */
const OOM_SCORE = '/proc/self/oom_score_adj';
const WORST_OOM_SCORE = 1000;

function tellParent(line: string): void {
  try {
    writeSync(READY, `${line}\n`);
    closeSync(READY);
  } catch (error) {
    logError('nobody listens to hear of the start', error);
  }
}

/** When memory is short, the daemon that would start another supervisor is not killed before this one. */
function standBelowParent(): void {
  const score = Number(readKernelFile(OOM_SCORE));
  writeFileSync(OOM_SCORE, String(Math.min(score + 1, WORST_OOM_SCORE)));
}

/** Binds the socket so that it never has wider rights than 0600. */
function listen(server: TtrpcServer): Promise<void> {
  rmSync(SOCKET, { force: true });
  return new Promise((resolve, reject) => {
    server.server.once('error', reject);
    const umask = process.umask(0o177);
    server.server.listen(SOCKET, resolve);
    process.umask(umask);
  });
}

function removeGroup({ namespace, group }: SupervisorSettings): void {
  if (group !== namespace) return;
  try {
    removeNamespaceGroup(namespace);
  } catch (error) {
    logError('removing the control group of the namespace', error, { namespace });
  }
}

/** Connections that stand are not touched. */
function listenAgain(server: TtrpcServer): void {
  log('warn', 'the socket is gone: listening again');
  server.server.close();
  listen(server).catch((error: unknown) => logError('listening again', error));
}

/** libuv starts its threads with the first work for them, and ends the process when the host has no room for them by then. */
async function startThreads(): Promise<void> {
  await stat(SOCKET);
}

async function serve(): Promise<void> {
  const given = fromArguments(process.argv.slice(2));
  const settings = { ...given, bundles: realpathSync(given.bundles) };
  if (lockFile('lock') === undefined) throw failedPrecondition('another supervisor serves this directory');
  becomeSubreaper();
  standBelowParent();
  const supervisor = new Supervisor(settings);
  process.on('SIGCHLD', () => supervisor.reaper.lookForStrays());
  await adoptAll(supervisor, settings.kept === undefined ? NOTHING_KEPT : takeKept(settings.kept));

  const end = (): void => {
    log('info', 'nothing left to supervise');
    removeGroup(settings);
    rmSync(SOCKET, { force: true });
    process.exit(0);
  };
  const server = createTtrpcServer(
    // containerd sends Shutdown after each task; our own daemon when it means it.
    [...taskServices(supervisor, () => settings.publish ?? setImmediate(end)), controlService(supervisor)],
    (error, method) => logError('call failed', error, { method }),
  );
  await listen(server);
  await startThreads();
  const { namespace, publish } = settings;
  const publisher = publish === undefined ? undefined : new Publisher(supervisor.events, namespace, publish);
  void publisher?.run();
  let looks = 0;
  setInterval(() => {
    // Somebody cleaned up too well: without it no daemon would find the way here any more.
    if (!existsSync(SOCKET)) listenAgain(server);
    looks = supervisor.idle && server.connections === 0 ? looks + 1 : 0;
    if (looks >= (publisher?.connected ? IDLE_LOOKS_AS_SHIM : IDLE_LOOKS)) end();
  }, IDLE_LOOK);
  log('info', 'serving', { namespace: settings.namespace, group: settings.group, tasks: [...supervisor.tasks].length });
  tellParent('ready');
  tidyAtRest();
}

for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => log('warn', `ignoring ${signal}`));
process.on('uncaughtException', (error) => logError('uncaught exception', error));
process.on('unhandledRejection', (error) => logError('unhandled rejection', error));

serve().catch((error: unknown) => {
  logError('start', error);
  tellParent(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
