/** Progress of a transfer as messages on the client's stream. */
import type { Logger } from 'pino';
import { Progress } from '../../api/gen/types/transfer.js';
import type { PullProgress } from '../../kernel/contracts/distribution.js';
import type { MessageStream } from '../../kernel/contracts/streams.js';
import { packAny } from '../../lib/rpc/any.js';
import { toDescriptorMessage } from '../../lib/rpc/descriptor.js';

/** Reports that may wait for a slow client before those about bytes are left out. */
const MAX_WAITING = 64;

const REPEATED: readonly string[] = ['downloading', 'extracting', 'uploading'];

export class ProgressSender {
  readonly #stream: MessageStream | undefined;
  readonly #log: Logger;
  readonly #waiting = new Set<Promise<void>>();
  #broken = false;

  constructor(stream: MessageStream | undefined, log: Logger) {
    this.#stream = stream;
    this.#log = log;
  }

  /** Never throws: a client that stops listening does not stop its pull. */
  send(report: PullProgress): void {
    if (!this.#stream || this.#broken) return;
    const repeats = REPEATED.includes(report.event);
    if (repeats && this.#waiting.size >= MAX_WAITING) return;
    const sent = this.#stream.send(packAny(Progress, toMessage(report))).catch((error: unknown) => {
      if (!this.#broken) this.#log.debug({ err: error }, 'the client no longer listens to progress');
      this.#broken = true;
    });
    this.#waiting.add(sent);
    void sent.then(() => this.#waiting.delete(sent));
  }

  /** Resolves when everything has been handed over. */
  async end(): Promise<void> {
    await Promise.all(this.#waiting);
  }
}

const toMessage = ({ event, name, parents, progress, total, descriptor }: PullProgress): Progress => ({
  event,
  name,
  parents: [...parents],
  progress: BigInt(progress),
  total: BigInt(total),
  desc: descriptor && toDescriptorMessage(descriptor),
});
