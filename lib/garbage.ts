/** V8's collector of garbage, for who knows better than V8 when it is time. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { internal } from '../kernel/errors.js';

interface Collection {
  readonly type: 'major' | 'minor';
  readonly execution: 'sync';
  readonly flavor?: 'last-resort';
}

let known: ((collection: Collection) => void) | undefined;

function collector(): (collection: Collection) => void {
  if (known) return known;
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof gc !== 'function') throw internal('V8 offers no collection of garbage');
  known = (collection) => void gc(collection);
  return known;
}

/** All of it, pages included, which any other flavour leaves with V8. Takes some tens of milliseconds. */
export const collectAll = (): void => collector()({ type: 'major', execution: 'sync', flavor: 'last-resort' });

/** What was made a moment ago and is used no more. Takes about one millisecond. */
export const collectYoung = (): void => collector()({ type: 'minor', execution: 'sync' });
