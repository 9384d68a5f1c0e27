/**
 * SHA-256 whose state between two pieces can be saved and taken up again, which the runtime's own hashes do not allow:
 * by OpenSSL's functions inside the runtime (SHA256_Init(3)). What they keep is a C struct, checked before first use.
 */
import { createHash } from 'node:crypto';
import { koffi } from './linux/libc.js';

/** struct SHA256_CTX of openssl/sha.h: no pointers in it. */
const STATE_BYTES = 112;
/** More than the struct has, in case it grows. */
const CONTEXT_BYTES = 256;
const UNTOUCHED = 0xa5;

interface Library {
  SHA256_Init(context: Uint8Array): number;
  SHA256_Update(context: Uint8Array, bytes: Uint8Array, length: number): number;
  SHA256_Final(digest: Uint8Array, context: Uint8Array): number;
}

export class Sha256 {
  readonly #library: Library;
  readonly #context = Buffer.alloc(CONTEXT_BYTES, UNTOUCHED);

  private constructor(library: Library) {
    this.#library = library;
    library.SHA256_Init(this.#context);
  }

  /** Of no bytes yet; undefined where the runtime has no such functions. */
  static open(): Sha256 | undefined {
    loaded ??= { functions: Sha256.#checked(load()) };
    return loaded.functions && new Sha256(loaded.functions);
  }

  /** As it was when {@link state} was read. */
  static restore(state: Uint8Array): Sha256 | undefined {
    const hash = state.length === STATE_BYTES ? Sha256.open() : undefined;
    if (hash) hash.#context.set(state);
    return hash;
  }

  /** Nothing unless it behaves as the runtime's own, wherever it is interrupted. */
  static #checked(library: Library | undefined): Library | undefined {
    if (library === undefined) return undefined;
    const bytes = Buffer.alloc(300, 'known bytes of no particular meaning');
    const expected = createHash('sha256').update(bytes).digest('hex');
    const works = [0, 1, 63, 64, 65, 300].every((cut) => {
      const first = new Sha256(library).update(bytes.subarray(0, cut));
      const second = new Sha256(library);
      second.#context.set(first.state());
      const isSmall = first.#context.subarray(STATE_BYTES).every((byte) => byte === UNTOUCHED);
      return isSmall && second.update(bytes.subarray(cut)).digest() === expected;
    });
    return works ? library : undefined;
  }

  update(bytes: Uint8Array): this {
    this.#library.SHA256_Update(this.#context, bytes, bytes.byteLength);
    return this;
  }

  /** Of the bytes so far, in hexadecimal; more may follow. */
  digest(): string {
    const digest = Buffer.alloc(32);
    this.#library.SHA256_Final(digest, Buffer.from(this.#context));
    return digest.toString('hex');
  }

  copy(): Sha256 {
    const copy = new Sha256(this.#library);
    copy.#context.set(this.#context);
    return copy;
  }

  state(): Buffer {
    return Buffer.from(this.#context.subarray(0, STATE_BYTES));
  }
}

let loaded: { readonly functions: Library | undefined } | undefined;

function load(): Library | undefined {
  try {
    const runtime = koffi.load(null);
    return {
      SHA256_Init: runtime.func('int SHA256_Init(void *)'),
      SHA256_Update: runtime.func('int SHA256_Update(void *, const void *, size_t)'),
      SHA256_Final: runtime.func('int SHA256_Final(void *, void *)'),
    };
  } catch {
    // A runtime that shows none of its OpenSSL: everything works, only nothing is saved.
    return undefined;
  }
}
