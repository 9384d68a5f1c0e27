import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withConsoleSize } from './console-size.js';

const size = { width: 97, height: 31 };
const sized = (text: string): string => Buffer.from(withConsoleSize(Buffer.from(text), size)).toString();

test('a process gets the size of its terminal, and is otherwise byte for byte what it was', () => {
  assert.equal(sized('{}'), '{"consoleSize":{"height":31,"width":97}}');
  const limits = '{"args":["a"],"rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":1}]';
  assert.equal(sized(`${limits}}\n`), `${limits},"consoleSize":{"height":31,"width":97}}`);
  const given = Buffer.from('{"terminal":true}');
  assert.equal(withConsoleSize(given, undefined), given);
});

test('what is no object is left to the runtime', () => {
  for (const text of ['', '[]', 'null', '{"args":']) assert.equal(sized(text), text);
});
