/**
 * Reloaders read the configuration of the running daemon again and make it
 * true. The program around the kernel provides one, since only it knows where
 * the configuration came from; an embedded kernel may have none.
 */
import { many } from '../token.js';

/** Plugins by their key in the configuration; one that was restarted is in both lists. */
export interface Reloaded {
  readonly stopped: readonly string[];
  readonly started: readonly string[];
  /** What did not keep the change from being made: plugins that failed, or did not stop in time. */
  readonly problems: readonly string[];
}

export interface Reloader {
  /**
   * INVALID_ARGUMENT with every problem of the configuration; FAILED_PRECONDITION
   * when a plugin that ran, or must run, fails with it. Nothing has changed then.
   */
  reload(): Promise<Reloaded>;
}

export const Reloaders = many<Reloader>('reloader@1');
