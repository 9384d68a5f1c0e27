/**
 * Keeps what must not be seen out of texts that come from a server: it may
 * echo the credentials it was sent.
 */
const SHOWN = '[redacted]';
/** Shorter strings would blank out ordinary words. */
const MIN_SECRET = 4;
const MAX_TEXT = 300;

export class Redactor {
  readonly #secrets = new Set<string>();

  add(...secrets: readonly string[]): void {
    for (const secret of secrets) if (secret.length >= MIN_SECRET) this.#secrets.add(secret);
  }

  /** Without secrets and control characters, and bounded. */
  clean(text: string): string {
    let clean = text;
    for (const secret of this.#secrets) clean = clean.replaceAll(secret, SHOWN);
    clean = clean.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
    return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}...` : clean;
  }
}
