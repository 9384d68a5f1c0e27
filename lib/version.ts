/** What this program says of itself. */

/** Set while bundling; empty when run from compiled files. */
declare const KEELSON_REVISION: string | undefined;

/** As in package.json. */
export const VERSION = '0.1.0';

/** The commit it was built from; empty when unknown. */
export const REVISION = typeof KEELSON_REVISION === 'string' ? KEELSON_REVISION : '';
