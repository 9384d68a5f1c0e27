import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { SERVICES } from '../client/services.js';
import type { ServiceDefinition } from '../lib/rpc/definition.js';
import { compatibilityOf } from '../test/harness/compatibility.js';
import { EventsDefinition as TtrpcEvents } from './gen/services/events-ttrpc.js';

const page = await readFile(new URL('../../docs/compatibility.md', import.meta.url), 'utf8');
const definitions: readonly ServiceDefinition[] = [...Object.values(SERVICES), TtrpcEvents];

test('docs/compatibility.md has a row for every call, and no other', () => {
  const calls = definitions.flatMap(({ fullName, methods }) =>
    Object.values(methods).map(({ name }) => `${fullName}/${name}`),
  );
  const rows = compatibilityOf(page).map(({ call }) => call);
  assert.deepEqual(rows.toSorted(), calls.toSorted());
});

test('every row says yes, partly or not yet, and what is not yes says why', () => {
  for (const { call, status, note } of compatibilityOf(page)) {
    assert.ok(['yes', 'partly', 'not yet'].includes(status), `${call}: "${status}"`);
    assert.ok(status === 'yes' || note.endsWith('.'), `${call} needs a sentence`);
  }
});
