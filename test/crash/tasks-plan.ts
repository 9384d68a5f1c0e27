/** What one round of the kill matrix does: all of it follows from the round's seed. */
import { randomSource } from './random.js';

export const VICTIMS = ['daemon', 'supervisor', 'both'] as const;
export type Victim = (typeof VICTIMS)[number];

/** During which part of a container's life the kill comes. */
export const MOMENTS = ['create', 'start', 'exec', 'running', 'exit', 'delete'] as const;
export type Moment = (typeof MOMENTS)[number];

export interface LifePlan {
  /** The container counts up to here. */
  readonly count: number;
  readonly exitStatus: number;
  /** Milliseconds between the moment of its exit, when a kill may come, and the sign for it to exit. */
  readonly linger: number;
  /** Milliseconds an exec in it takes. */
  readonly execMillis: number;
  readonly execStatus: number;
}

/** Who is killed. */
export interface Strike {
  readonly victim: Victim;
  /** Milliseconds between the deaths of both, and which comes first. */
  readonly apart: number;
  readonly daemonFirst: boolean;
}

export interface Plan extends Strike {
  readonly seed: number;
  readonly moment: Moment;
  /** When in the moment, as a part of what it usually takes; beyond 1 it may be over. */
  readonly fraction: number;
  /** Milliseconds until the daemon is started again. */
  readonly down: number;
  readonly lives: readonly LifePlan[];
}

/** Containers at once in a round; the kill is timed by the first. */
const LIVES = 2;

/** Rounds go through all victims and moments in turn; the rest is drawn. */
export function planRound(seed: number, round: number): Plan {
  const random = randomSource(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  return {
    seed,
    victim: VICTIMS[round % VICTIMS.length] ?? 'both',
    moment: MOMENTS[Math.floor(round / VICTIMS.length) % MOMENTS.length] ?? 'running',
    fraction: random() * 1.1,
    apart: below(2) * below(30),
    daemonFirst: random() < 0.5,
    down: below(2) * below(400),
    lives: Array.from({ length: LIVES }, () => ({
      count: 10 + below(40),
      exitStatus: below(120),
      linger: below(2) * below(80),
      execMillis: below(2) * below(150),
      execStatus: below(120),
    })),
  };
}
