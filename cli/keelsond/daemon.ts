/** The daemon: reads its configuration, runs a kernel, and stops it when told to. */
import './interpret-schemas.js';
import type { Logger } from 'pino';
import { type LoadOptions, loadConfig } from '../../config/load.js';
import { type Kernel, messageOf } from '../../kernel/index.js';
import { tidyAtRest } from '../../lib/rest.js';
import { VERSION } from '../../lib/version.js';
import { Faults } from './faults.js';
import { openLog } from './log.js';
import { notify } from './notify.js';
import { Configuration } from './reload.js';
import { describeOnSignal, reloadOnSignal, stopOnSignal } from './signals.js';

/** Milliseconds for all plugins to stop, after which the process ends all the same. */
const STOP_DEADLINE = 15_000;

/** Runs until told to stop. Resolves to the exit code. */
export async function runDaemon(options: LoadOptions): Promise<number> {
  process.umask(0o077);
  const config = await loadConfig(options);
  const log = openLog(config.settings.log.level);
  let kernel: Kernel | undefined;
  const faults = new Faults(log, (plugin, facts) => kernel?.advertise(plugin, { exports: facts }));
  const configuration = new Configuration(options, config, log);
  faults.watch();
  reloadOnSignal(log, configuration);
  describeOnSignal(log, faults, () => kernel?.report);
  const stopping = stopOnSignal(log);
  log.info({ version: VERSION, pid: process.pid, files: config.files }, 'starting');
  for (const warning of config.warnings) log.warn(warning);
  try {
    kernel = await configuration.start(stopping);
  } catch (error) {
    // The message says it all; a stack would only point into the kernel.
    log.fatal(messageOf(error));
    return stopping.aborted ? 0 : 1;
  }
  await notify('READY=1', log);
  const started = kernel.report.plugins().filter(({ outcome }) => outcome === 'ok').length;
  log.info({ millis: Math.round(performance.now()), plugins: started }, 'ready');
  tidyAtRest();
  await aborted(stopping);
  await notify('STOPPING=1', log);
  return stop(kernel, log);
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    // An AbortSignal keeps no process alive, and a daemon without a server has nothing else that does.
    const alive = setInterval(() => {}, 2 ** 30);
    signal.addEventListener('abort', () => {
      clearInterval(alive);
      resolve();
    });
  });

async function stop(kernel: Kernel, log: Logger): Promise<number> {
  const deadline = setTimeout(() => {
    log.fatal(`plugins did not stop within ${STOP_DEADLINE / 1000} s; exiting all the same`);
    process.exit(1);
  }, STOP_DEADLINE);
  try {
    await kernel.stop();
    log.info('stopped');
    return 0;
  } catch (error) {
    log.error(messageOf(error));
    return 1;
  } finally {
    clearTimeout(deadline);
  }
}
