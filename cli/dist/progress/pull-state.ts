/** What has become of a transfer, from the messages of the daemon. */
import type { Progress } from '../../../client/index.js';
import { printable } from '../../table.js';

export interface Part {
  /** `layer-sha256:...`. */
  readonly name: string;
  /** `waiting`, `downloading`, `uploading`, `complete`, `already exists`, `extracting`, `extracted`. */
  status: string;
  /** Bytes. */
  done: number;
  total: number;
  /** Bytes that went over the network, either way. */
  downloaded: number;
}

/** Milliseconds over which the rate is measured. */
const WINDOW = 3000;

interface Sample {
  readonly at: number;
  readonly bytes: number;
}

/** Its bytes are on their way. */
export const isMoving = (status: string): boolean => status === 'downloading' || status === 'uploading';

const FINISHED = ['complete', 'already exists', 'extracted'];

export class PullState {
  readonly #parts = new Map<string, Part>();
  #sentence = '';
  readonly #samples: Sample[];
  readonly #startedAt: number;

  /** `now`: milliseconds, as everywhere here. */
  constructor(now: number) {
    this.#startedAt = now;
    this.#samples = [{ at: now, bytes: 0 }];
  }

  /** The last thing the daemon said about the whole. */
  get sentence(): string {
    return this.#sentence;
  }

  get parts(): readonly Part[] {
    return [...this.#parts.values()];
  }

  /** Bytes that went over the network so far. */
  get downloaded(): number {
    return this.parts.reduce((sum, { downloaded }) => sum + downloaded, 0);
  }

  /** Takes a message; the part it is about, when it is about one whose status it changed. */
  update({ event, name, progress, total }: Progress, now: number): Part | undefined {
    if (name === '' || event === 'saved') {
      this.#sentence = event === 'saved' ? this.#sentence : event;
      return undefined;
    }
    const part = this.#parts.get(name) ?? { name, status: '', done: 0, total: 0, downloaded: 0 };
    this.#parts.set(name, part);
    const changed = part.status !== printable(event);
    const wasMoving = isMoving(part.status);
    part.status = printable(event);
    part.done = Number(progress);
    part.total = Number(total);
    if (isMoving(event)) part.downloaded = part.done;
    if (event === 'complete' && (wasMoving || part.downloaded === 0)) part.downloaded = part.total;
    this.#sample(now);
    return changed ? part : undefined;
  }

  #sample(now: number): void {
    this.#samples.push({ at: now, bytes: this.downloaded });
    while ((this.#samples[1]?.at ?? now) < now - WINDOW) this.#samples.shift();
  }

  /** Bytes per second, of late. */
  rate(now: number): number {
    const first = this.#samples[0];
    if (!first || now <= first.at) return 0;
    return ((this.downloaded - first.bytes) / (now - first.at)) * 1000;
  }

  /** Milliseconds until everything known is downloaded; undefined when nothing tells. */
  timeLeft(now: number): number | undefined {
    const left = this.parts
      .filter(({ status }) => status === 'waiting' || isMoving(status))
      .reduce((sum, { total, downloaded }) => sum + total - downloaded, 0);
    const rate = this.rate(now);
    if (left === 0) return 0;
    return rate > 0 ? (left / rate) * 1000 : undefined;
  }

  elapsed(now: number): number {
    return now - this.#startedAt;
  }

  /** True once nothing more will happen to the part. */
  static isFinished({ name, status }: Part, unpacking: boolean): boolean {
    if (status === 'complete' && unpacking && name.startsWith('layer-')) return false;
    return FINISHED.includes(status);
  }
}
