import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { SITUATIONS } from '../../kernel/errors.js';

const KERNEL = join(import.meta.dirname, '../../../kernel');
const files = readdirSync(KERNEL).filter((name) => name.endsWith('.ts') && !/\.(test|spec-d)\.ts$/.test(name));
const read = (name: string): string => readFileSync(join(KERNEL, name), 'utf8');

describe('the kernel', () => {
  it('stays small: 10 files, 250 lines each, 1500 together', () => {
    const lines = files.map((name) => read(name).trimEnd().split('\n').length);
    assert.ok(files.length >= 8 && files.length <= 10, files.join(' '));
    for (const [index, count] of lines.entries()) assert.ok(count <= 250, `${files[index]} has ${count} lines`);
    const total = lines.reduce((sum, count) => sum + count, 0);
    assert.ok(total <= 1500, `${total} lines`);
  });

  it('knows InversifyJS in one file', () => {
    assert.deepEqual(
      files.filter((name) => /from 'inversify'|'reflect-metadata/.test(read(name))),
      ['registry.ts'],
    );
  });

  it('has each of its error situations in ERRORS.md and in use, and no other', () => {
    const documented = [...read('ERRORS.md').matchAll(/^## (KEELSON_\w+)$/gm)].map(([, name]) => name);
    assert.deepEqual(documented, [...SITUATIONS]);
    const code = files
      .filter((name) => name !== 'errors.ts')
      .map(read)
      .join('\n');
    const used = new Set([...code.matchAll(/'(KEELSON_\w+)'/g)].map(([, name]) => name));
    assert.deepEqual([...used].sort(), [...SITUATIONS].sort());
  });
});
