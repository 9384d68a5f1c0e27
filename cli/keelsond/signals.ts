/** What the daemon does about signals. Only this program handles any: an embedded kernel leaves them alone. */
import type { Logger } from 'pino';
import type { PluginReport } from '../../kernel/index.js';
import type { Faults } from './faults.js';
import type { Configuration } from './reload.js';

/** Aborted by the first SIGTERM or SIGINT; the second one ends the process at once. */
export function stopOnSignal(log: Logger): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      if (stop.signal.aborted) {
        log.warn({ signal }, 'asked to stop once more: exiting at once');
        process.exit(1);
      }
      log.info({ signal }, 'stopping');
      stop.abort();
    });
  return stop.signal;
}

/** SIGHUP: the configuration is read again. What comes of it is in the log. */
export function reloadOnSignal(log: Logger, configuration: Configuration): void {
  process.on('SIGHUP', () => {
    log.info({ signal: 'SIGHUP' }, 'reloading');
    configuration.reload().catch((error: unknown) => log.debug({ err: error }, 'reload by signal failed'));
  });
}

/** SIGUSR1: what the process is doing, into the log. */
export function describeOnSignal(log: Logger, faults: Faults, report: () => PluginReport | undefined): void {
  process.on('SIGUSR1', () => {
    const active: Record<string, number> = {};
    for (const name of process.getActiveResourcesInfo()) active[name] = (active[name] ?? 0) + 1;
    const plugins = report()
      ?.plugins()
      .map(({ id, outcome }) => `${id}: ${outcome ?? 'not started'}`);
    const stack = new Error('stack').stack?.split('\n').slice(1);
    const facts = { faults: faults.count, memory: process.memoryUsage(), active, plugins, stack };
    log.info({ ...facts, uptime: Math.round(process.uptime()) }, 'state of the daemon');
  });
}
