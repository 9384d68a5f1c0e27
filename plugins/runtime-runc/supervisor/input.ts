import { constants } from 'node:fs';
import { holdFifo, reopen } from '../../../lib/linux/fifo.js';
import { Descriptors } from './descriptors.js';
import type { Owner } from './streams.js';

/**
 * Standard input: the FIFO itself. Its write end is held here, so that the
 * process waits while no client is there instead of reading the end; that
 * comes when {@link release} was called and the last client has left.
 */
export class Input {
  /** The descriptor for the process. */
  readonly file: number;
  /** Both ends; never blocks. */
  readonly held: number;
  readonly #descriptors = new Descriptors();

  constructor(path: string, owner: Owner) {
    this.held = this.#descriptors.add(holdFifo(path));
    this.file = this.#descriptors.orClose(() => {
      owner.take(this.held);
      return this.#descriptors.add(reopen(this.held, constants.O_RDONLY));
    });
  }

  /** Stops holding the write end. */
  release(): void {
    this.#descriptors.close(this.held);
  }

  /** The process has its descriptor: closes ours of it. */
  handedOver(): void {
    this.#descriptors.close(this.file);
  }

  close(): void {
    this.#descriptors.closeAll();
  }
}
