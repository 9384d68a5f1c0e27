import type { Logger } from 'pino';
import { failedPrecondition } from '../../kernel/errors.js';
import { readVersion } from './facts.js';
import { type Escape, knownEscapes } from './known-escapes.js';

/** What becomes of containers whose OCI runtime has known escapes. */
export type EscapePolicyKind = 'warn' | 'refuse' | 'ignore';

const advisories = (escapes: readonly Escape[]): string => escapes.map(({ advisory }) => advisory).join(', ');

/** Looks at each OCI runtime once, when it is first used. */
export class EscapePolicy {
  readonly #kind: EscapePolicyKind;
  readonly #log: Logger;
  readonly #looks = new Map<string, Promise<Escape[]>>();

  constructor(kind: EscapePolicyKind, log: Logger) {
    this.#kind = kind;
    this.#log = log;
  }

  /** FAILED_PRECONDITION when the program at that path is refused. Only then does anybody wait for the look. */
  async check(path: string): Promise<void> {
    if (this.#kind === 'ignore') return;
    const look = this.#looks.get(path) ?? this.#look(path);
    this.#looks.set(path, look);
    if (this.#kind === 'warn') return;
    const escapes = (await look).filter(({ breaksOut }) => breaksOut);
    if (escapes.length === 0) return;
    throw failedPrecondition(`OCI runtime "${path}" has known escapes (${advisories(escapes)})`, {
      remedy: 'update it, or set known_escapes to "warn" if your distribution has mended it',
    });
  }

  async #look(path: string): Promise<Escape[]> {
    try {
      const program = await readVersion(path);
      const escapes = knownEscapes(program);
      if (escapes.length > 0)
        this.#log.warn(
          { path, ...program, escapes: advisories(escapes) },
          'OCI runtime with known escapes, unless mended by its distribution',
        );
      return escapes;
    } catch (error) {
      this.#log.warn({ path, err: error }, 'version of the OCI runtime is not known');
      return [];
    }
  }
}
