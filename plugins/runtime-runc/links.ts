import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Event, ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { supervisorDirectory } from '../../lib/supervisor/layout.js';
import { removeNamespaceGroup } from '../../lib/supervisor/namespace-group.js';
import type { SupervisorSettings } from '../../lib/supervisor/settings.js';
import { SupervisorLink } from './link.js';

export interface LinksOptions {
  /** Holds a directory of bundles per namespace. */
  readonly state: string;
  readonly settings: Omit<SupervisorSettings, 'namespace' | 'group' | 'bundles' | 'kept'>;
  /** Milliseconds that a supervisor without tasks is kept for the next one. */
  readonly idle: number;
  readonly log: Logger;
  /** Events are taken from then on. */
  readonly telling: Promise<void>;
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
  #closed = false;

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
    this.#keep(link);
    return link;
  }

  /** It is not to be ended, if it was. */
  #keep(link: SupervisorLink): void {
    clearTimeout(this.#timers.get(link));
    this.#timers.delete(link);
  }

  #make(namespace: string, group: string): SupervisorLink {
    const { state, settings, log, telling, onEvent, onProcesses } = this.#options;
    const link: SupervisorLink = new SupervisorLink({
      settings: { ...settings, namespace, group, bundles: this.bundles(namespace) },
      directory: supervisorDirectory(state, group),
      log,
      telling,
      onEvent: (event) => onEvent(namespace, event),
      onProcesses: (processes) => {
        onProcesses(link, namespace, processes);
        // It may have been connected only for what it has to tell.
        this.settle(link);
      },
    });
    this.#links.set(group, link);
    return link;
  }

  /** A task of the link is gone, or did not come to be: without any, its supervisor may go too. */
  settle(link: SupervisorLink): void {
    this.#keep(link);
    if (link.tasks > 0 || this.#closed) return;
    const timer = setTimeout(() => void this.#onIdle(link, timer), this.#options.idle).unref();
    this.#timers.set(link, timer);
  }

  /** Ends a supervisor, once there is nothing left that it has to tell, unless it was asked for meanwhile. */
  async #onIdle(link: SupervisorLink, timer: NodeJS.Timeout): Promise<void> {
    const stillIdle = (): boolean => this.#timers.get(link) === timer && link.tasks === 0;
    const allTold = await link.tellAll().catch((error: unknown) => {
      if (stillIdle()) this.#options.log.warn({ err: error, group: link.group }, 'supervisor does not tell its events');
      return false;
    });
    if (!stillIdle()) return;
    if (allTold) await this.#end(link);
    else this.settle(link);
  }

  async #end(link: SupervisorLink): Promise<void> {
    this.#keep(link);
    this.#links.delete(link.group);
    const ended = link.close().finally(() => {
      this.#ending.delete(link.group);
      this.#removeGroupOf(link.namespace);
    });
    this.#ending.set(link.group, ended);
    await ended;
  }

  /** The last supervisor of a namespace takes its control group along; none of several can know that it is the last. */
  #removeGroupOf(namespace: string): void {
    const others = [...this.#links.values()].some((link) => link.namespace === namespace);
    if (!others) removeNamespaceGroup(namespace);
  }

  /** Ends supervisors that have neither tasks nor anything to tell; lets the others be. */
  async close(): Promise<void> {
    this.#closed = true;
    const ended = [...this.#links.values()].map((link) => this.#end(link));
    await Promise.all([...ended, ...this.#ending.values()]);
  }
}
