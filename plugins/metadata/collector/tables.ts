import { DISCARD_UNPACKED } from '../../../lib/discard-label.js';
import type { Param, Reader } from '../../../lib/sqlite/database.js';
import { type Row, text } from '../../../lib/sqlite/row.js';
import type { Slices } from './slices.js';

/** Rows read in one go: under a millisecond. */
const PAGE = 200;

/** Labels that are none of the collector's business need not be parsed. */
export const GC_LABELS = `CASE WHEN instr(labels, 'containerd.io/gc.') > 0 THEN labels ELSE '{}' END AS labels`;

/** As {@link GC_LABELS}, with what images ask of collections. */
export const IMAGE_LABELS = `CASE WHEN instr(labels, 'containerd.io/gc.') > 0 OR instr(labels, '${DISCARD_UNPACKED}') > 0
  THEN labels ELSE '{}' END AS labels`;

/**
 * All rows of a table, of all namespaces, in slices; what is inserted meanwhile may or may not
 * be among them. `keys` are the columns of the primary key, `columns` what to read besides.
 */
export async function* rowsOf(
  sql: Reader,
  slices: Slices,
  table: string,
  keys: readonly string[],
  columns: readonly string[] = [],
): AsyncGenerator<Row> {
  const key = keys.join(', ');
  const marks = keys.map(() => '?').join(', ');
  const select = `SELECT ${[...keys, ...columns].join(', ')} FROM ${table}
    WHERE (${key}) > (${marks}) ORDER BY ${key} LIMIT ${PAGE}`;
  let after: readonly Param[] = keys.map(() => '');
  for (;;) {
    const rows = sql.all(select, ...after);
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    after = keys.map((column) => text(last, column));
    if (slices.over) await slices.rest();
  }
}
