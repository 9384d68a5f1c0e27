import { constants } from 'node:fs';
import { holdFifo, reopen } from '../../../lib/linux/fifo.js';
import { IN_CLOSE_WRITE, watchFile } from '../../../lib/linux/notify.js';
import type { Watch } from '../../../lib/linux/poll.js';
import { Descriptors } from './descriptors.js';
import type { Owner } from './streams.js';

/**
 * Standard input: the FIFO itself. Until a client has come and gone the write
 * end is held here, so that the process waits instead of reading the end; from
 * then on the process reads the end when the last client has left.
 */
export class Input {
  /** The descriptor for the process. */
  readonly file: number;
  /** Both ends; never blocks. */
  readonly held: number;
  readonly #descriptors = new Descriptors();
  #watch: Watch | undefined;

  /** With `terminal` the write end is kept whatever clients do: it is attached to again and again. */
  constructor(path: string, terminal: boolean, owner: Owner) {
    this.held = this.#descriptors.add(holdFifo(path));
    owner.take(this.held);
    this.file = this.#descriptors.add(reopen(this.held, constants.O_RDONLY));
    if (!terminal) this.#watch = watchFile(path, IN_CLOSE_WRITE, () => this.release());
  }

  /** Stops holding the write end. */
  release(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#descriptors.close(this.held);
  }

  /** The process has its descriptor: closes ours of it. */
  handedOver(): void {
    this.#descriptors.close(this.file);
  }

  close(): void {
    this.release();
    this.#descriptors.closeAll();
  }
}
