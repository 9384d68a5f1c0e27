import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { compileFilters, type Fields, mapField, nonEmpty } from './filters.js';
import { parseFilter } from './parse.js';

interface Thing {
  readonly name: string;
  readonly other?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

const fieldsOf =
  (thing: Thing): Fields =>
  ([first, ...rest]) => {
    if (first === 'name') return nonEmpty(thing.name);
    if (first === 'other') return nonEmpty(thing.other ?? '');
    return first === 'labels' ? mapField(thing.labels ?? {}, rest) : undefined;
  };

const matches = (thing: Thing, ...filters: string[]): boolean => compileFilters(filters)(fieldsOf(thing));

const FOO: Thing = { name: 'foo', labels: { 'very.complex/label': 'ok', plain: 'a b', 'x,y': '1', empty: '' } };

describe('filters', () => {
  const holds: readonly (readonly [string, Thing, boolean])[] = [
    ['', FOO, true],
    ['name==foo', FOO, true],
    ['name==bar', FOO, false],
    ['name!=bar', FOO, true],
    ['other!=bar', FOO, true],
    ['other==""', FOO, false],
    ['name', FOO, true],
    ['other', FOO, false],
    [' name == foo', FOO, true],
    ['name==foo,labels.plain', FOO, true],
    ['name==foo, labels.missing', FOO, false],
    ['labels."very.complex/label"==ok', FOO, true],
    ['labels.plain=="a b"', FOO, true],
    ['labels."x,y"==1', FOO, true],
    ['labels.empty', FOO, true],
    ['labels.constructor', FOO, false],
    ['name~=^f', FOO, true],
    ['name~=/^f.o$/', FOO, true],
    ['name~=|^f.o$|', FOO, true],
    ['name~="^f\\\\w+$"', FOO, true],
    ['name~=/fo{3}/', FOO, false],
    ['name~=/f\\/o/', { name: 'f/o' }, true],
    ['name=="\\u0066\\x6f\\157"', FOO, true],
    ['name=="\\xc3\\xa9"', { name: 'é' }, true],
    ['name==docker.io/library/redis:alpine', { name: 'docker.io/library/redis:alpine' }, true],
    ['other~=^$', FOO, true],
  ];
  for (const [filter, thing, expected] of holds) {
    it(`${filter || '(empty)'} ${expected ? 'matches' : 'does not match'} ${thing.name}`, () => {
      assert.equal(matches(thing, filter), expected);
    });
  }

  it('matches when any filter of the list does, and always without filters', () => {
    assert.equal(matches(FOO, 'name==bar', 'name==foo'), true);
    assert.equal(matches(FOO, 'name==bar', 'name==baz'), false);
    assert.equal(matches(FOO), true);
  });

  const refused = [
    'name=foo',
    'name===foo',
    'name==',
    'name==foo ',
    'name ',
    ',name',
    'name,',
    '.name',
    'name..x',
    'name==/foo/',
    'name==foo labels.x',
    'name~=/unterminated',
    'name=="bad \\q escape"',
    'name=="\\400"',
    'name=="\\U00110000"',
    'name=="a\nb"',
    'name~=/(/',
    'name~=/a{1001}/',
    'name~=/(?=look)/',
    '/name/==x',
    'labels.very.complex/label==ok',
    'na-me==x',
    'name==\0',
    `name~=${'a'.repeat(1025)}`,
    'name~=/(ab?){300}/',
    `name==${'a'.repeat(70_000)}`,
  ];
  for (const filter of refused) {
    it(`refuses ${JSON.stringify(filter.slice(0, 40))}`, () => {
      assert.throws(
        () => compileFilters([filter]),
        (error) => hasCode(error, 'INVALID_ARGUMENT'),
      );
    });
  }

  it('runs hostile expressions in linear time', () => {
    const filter = compileFilters(['labels.x~=|^(a+)+$|']);
    const fields = fieldsOf({ name: 'x', labels: { x: `${'a'.repeat(4000)}b` } });
    const start = performance.now();
    for (let i = 0; i < 100; i += 1) assert.equal(filter(fields), false);
    assert.ok(performance.now() - start < 1000);
  });
});

describe('characters', () => {
  /** What the first selector of a text says, or the error without what depends on the text. */
  const first = (text: string): unknown => {
    try {
      return parseFilter(text)[0];
    } catch (error) {
      return error instanceof Error && error.constructor;
    }
  };

  it('of ASCII mean the same in a text of ASCII alone and in one with others', () => {
    for (let code = 0; code < 128; code++) {
      const character = String.fromCharCode(code);
      for (const text of [`a==${character}`, `a==x${character}y`, `a${character}==x`, `${character}a==x`])
        assert.deepEqual(first(text), first(`${text},b=="\u00e9"`), JSON.stringify(text));
    }
  });
});
