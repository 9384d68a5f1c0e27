/** Shows a transfer while it runs: in place on a terminal, line by line elsewhere. */
import { createLogUpdate } from 'log-update';
import type { Progress } from '../../../client/index.js';
import { printable } from '../../table.js';
import { formatBytes, formatDuration } from '../sizes.js';
import { isMoving, type Part, PullState } from './pull-state.js';

export interface PullDisplay {
  update(progress: Progress): void;
  /** The pull is over: leaves the last state on the screen, and says what it took unless it failed. */
  end(succeeded: boolean): void;
}

/** Milliseconds between two pictures. */
const FRAME = 100;
const BAR = 24;

/** `layer 1a2b3c4d5e6f`: enough of a digest to tell parts apart. */
function title(name: string): string {
  const [, kind = name, hex = ''] = /^([a-z]+)-sha\d+:([0-9a-f]{12})/.exec(name) ?? [];
  return `${printable(kind)} ${hex}`.trim();
}

function bar({ done, total }: Part): string {
  const filled = total === 0 ? BAR : Math.min(BAR, Math.floor((done / total) * BAR));
  return `[${'='.repeat(filled)}${' '.repeat(BAR - filled)}]`;
}

function line(part: Part): string {
  const name = title(part.name).padEnd(22);
  const status = part.status.padEnd(15);
  if (!isMoving(part.status) && part.status !== 'extracting') return `${name} ${status}`.trimEnd();
  return `${name} ${status} ${bar(part)} ${formatBytes(part.done)} / ${formatBytes(part.total)}`;
}

function summary(state: PullState, now: number): string {
  const left = state.timeLeft(now);
  const rate = state.rate(now);
  const parts = [
    `${formatDuration(state.elapsed(now))}`,
    formatBytes(state.downloaded),
    ...(rate > 0 && left !== 0 ? [`${formatBytes(rate)}/s`] : []),
    ...(left !== undefined && left > 0 ? [`about ${formatDuration(left)} left`] : []),
  ];
  return parts.join(', ');
}

/** Redraws in place. What does not fit on the screen is left out, finished parts first. */
export class TerminalDisplay implements PullDisplay {
  readonly #stream: NodeJS.WriteStream;
  readonly #state = new PullState(performance.now());
  readonly #reference: string;
  readonly #draw: ReturnType<typeof createLogUpdate>;
  readonly #timer: NodeJS.Timeout;

  constructor(stream: NodeJS.WriteStream, reference: string) {
    this.#stream = stream;
    this.#reference = reference;
    this.#draw = createLogUpdate(stream);
    this.#timer = setInterval(() => this.#show(), FRAME);
  }

  update(progress: Progress): void {
    this.#state.update(progress, performance.now());
  }

  end(): void {
    clearInterval(this.#timer);
    this.#show();
    this.#draw.done();
  }

  #show(): void {
    const room = Math.max(1, (this.#stream.rows ?? 24) - 4);
    const { parts } = this.#state;
    const unfinished = parts.filter((part) => !PullState.isFinished(part, true));
    const shown = parts.length <= room ? parts : unfinished.slice(0, room);
    const hidden = parts.length - shown.length;
    const more = hidden > 0 ? [`${hidden} more`] : [];
    const lines = [this.#reference, ...shown.map(line), ...more, summary(this.#state, performance.now())];
    this.#draw(lines.join('\n'));
  }
}

/** One line for each change of a part's status; nothing that only makes sense on a screen. */
export class PlainDisplay implements PullDisplay {
  readonly #write: (text: string) => void;
  readonly #state = new PullState(performance.now());

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  update(progress: Progress): void {
    const part = this.#state.update(progress, performance.now());
    if (!part || part.status === 'waiting' || part.status === 'extracting') return;
    const size = part.status === 'extracted' ? '' : ` ${formatBytes(part.total)}`;
    this.#write(`${title(part.name)} ${part.status}${size}\n`);
  }

  end(succeeded: boolean): void {
    if (succeeded) this.#write(`${summary(this.#state, performance.now())}\n`);
  }
}

export const silent: PullDisplay = { update: () => {}, end: () => {} };

/** What suits where the output goes; `title` heads a picture on a terminal. */
export function displayFor(
  { quiet, format }: { readonly quiet?: boolean; readonly format: string },
  title: string,
  out: NodeJS.WriteStream = process.stdout,
): PullDisplay {
  if (quiet || format === 'json') return silent;
  // A terminal without a size, as serial lines have, cannot be redrawn.
  if (out.isTTY && out.columns > 0) return new TerminalDisplay(out, title);
  return new PlainDisplay((text) => out.write(text));
}

/** Runs a transfer under a display, which is ended in any case. */
export async function shown(display: PullDisplay, work: () => Promise<void>): Promise<void> {
  let succeeded = false;
  try {
    await work();
    succeeded = true;
  } finally {
    display.end(succeeded);
  }
}
