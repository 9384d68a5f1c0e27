/** What the doctor says of one thing. */

/** `warn`: works, but less well. `fail`: something will not work. */
export type Verdict = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly subject: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do; empty when there is nothing. */
  readonly remedy: string;
}

export interface Surroundings {
  readonly address: string;
  readonly root: string;
}

export type Check = (surroundings: Surroundings) => Finding | Promise<Finding>;

export const finding = (subject: string, verdict: Verdict, found: string, remedy = ''): Finding => ({
  subject,
  verdict,
  found,
  remedy,
});
