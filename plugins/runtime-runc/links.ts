import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Event, ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { supervisorDirectory } from '../../lib/supervisor/layout.js';
import type { SupervisorSettings } from '../../lib/supervisor/settings.js';
import { SupervisorLink } from './link.js';

export interface LinksOptions {
  /** Holds a directory of bundles per namespace. */
  readonly state: string;
  readonly settings: Omit<SupervisorSettings, 'namespace' | 'group' | 'bundles' | 'kept'>;
  /** Milliseconds that a supervisor without tasks is kept for the next one. */
  readonly idle: number;
  readonly log: Logger;
  onEvent(namespace: string, event: Event): void;
  onProcesses(link: SupervisorLink, namespace: string, processes: readonly ProcessRecord[]): void;
}

/** The supervisors, one link per group of tasks. */
export class SupervisorLinks {
  readonly #options: LinksOptions;
  readonly #links = new Map<string, SupervisorLink>();
  readonly #timers = new Map<SupervisorLink, NodeJS.Timeout>();
  /** Supervisors on their way out: another one of the same group waits for that. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(options: LinksOptions) {
    this.#options = options;
  }

  bundles(namespace: string): string {
    return join(this.#options.state, namespace);
  }

  /** The link of a group; nothing is started before it is connected. */
  async get(namespace: string, group: string): Promise<SupervisorLink> {
    await this.#ending.get(group);
    const link = this.#links.get(group) ?? this.#make(namespace, group);
    clearTimeout(this.#timers.get(link));
    return link;
  }

  #make(namespace: string, group: string): SupervisorLink {
    const { state, settings, log, onEvent, onProcesses } = this.#options;
    const link: SupervisorLink = new SupervisorLink({
      settings: { ...settings, namespace, group, bundles: this.bundles(namespace) },
      directory: supervisorDirectory(state, group),
      log,
      onEvent: (event) => onEvent(namespace, event),
      onProcesses: (processes) => onProcesses(link, namespace, processes),
    });
    this.#links.set(group, link);
    return link;
  }

  /** A task of the link is gone, or did not come to be: without any, its supervisor may go too. */
  settle(link: SupervisorLink): void {
    clearTimeout(this.#timers.get(link));
    if (link.tasks > 0) return;
    this.#timers.set(link, setTimeout(() => this.#end(link), this.#options.idle).unref());
  }

  #end(link: SupervisorLink): Promise<void> {
    clearTimeout(this.#timers.get(link));
    this.#timers.delete(link);
    this.#links.delete(link.group);
    const ended = link
      .shutdown()
      .catch((error: unknown) => this.#options.log.warn({ err: error, group: link.group }, 'supervisor does not end'))
      .then(() => link.close())
      .finally(() => this.#ending.delete(link.group));
    this.#ending.set(link.group, ended);
    return ended;
  }

  /** Ends supervisors without tasks; lets the others be. */
  async close(): Promise<void> {
    const all = [...this.#links.values()];
    const ended = all.map((link) => (link.tasks === 0 ? this.#end(link) : link.close()));
    await Promise.all([...ended, ...this.#ending.values()]);
  }
}
