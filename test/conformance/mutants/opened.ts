interface Closable {
  close(): Promise<void>;
}

/** Things that a check opens, and leaves open where it fails: closed with what they are part of. */
export class Opened {
  readonly #things: Closable[] = [];

  async noted<T extends Closable>(opening: Promise<T>): Promise<T> {
    const thing = await opening;
    this.#things.push(thing);
    return thing;
  }

  async close(): Promise<void> {
    for (const thing of this.#things.splice(0)) await thing.close();
  }
}
