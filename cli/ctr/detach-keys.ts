import { Transform } from 'node:stream';
import { invalidArgument } from '../../kernel/errors.js';

/** Bytes of a key sequence such as `ctrl-p,ctrl-q` or `ctrl-a,d`. INVALID_ARGUMENT. */
export function parseKeys(text: string): Uint8Array {
  return Uint8Array.from(
    text.split(',').map((key) => {
      const control = /^ctrl-([a-z@[\]\\^_])$/.exec(key)?.[1];
      if (control) return control.toUpperCase().charCodeAt(0) & 0x1f;
      if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
      throw invalidArgument(`unknown key "${key}"`, { remedy: 'write keys as a or ctrl-a, joined by commas' });
    }),
  );
}

/**
 * Passes input on until the key sequence was typed, then calls `detach` and
 * ends. A sequence that was only begun is passed on once it breaks off.
 */
export function detachOn(keys: Uint8Array, detach: () => void): Transform {
  let matched = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const passed: number[] = [];
      for (const byte of chunk) {
        if (byte !== keys[matched]) {
          passed.push(...keys.subarray(0, matched));
          matched = 0;
        }
        if (byte === keys[matched]) matched += 1;
        else passed.push(byte);
        if (matched === keys.length) {
          done(null, Buffer.from(passed));
          detach();
          this.end();
          return;
        }
      }
      done(null, Buffer.from(passed));
    },
    flush(done) {
      done(null, Buffer.from(keys.subarray(0, matched === keys.length ? 0 : matched)));
    },
  });
}
