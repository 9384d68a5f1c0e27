/** The text of default.toml, which programs carry with them. */
import { readFileSync } from 'node:fs';

/** Put in place by build.mjs; a program that was only compiled reads the file where it stands. */
declare const KEELSON_DEFAULT_TOML: string | undefined;

export const defaultToml = (): string =>
  typeof KEELSON_DEFAULT_TOML === 'string'
    ? KEELSON_DEFAULT_TOML
    : readFileSync(new URL('../../config/default.toml', import.meta.url), 'utf8');
