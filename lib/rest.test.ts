import assert from 'node:assert/strict';
import { test } from 'node:test';
import { succeed } from '../test/harness/command.js';

const MIB = 1024 * 1024;

test('a process that comes to rest gives back what its work left behind', async () => {
  const program = `
    const { tidyAtRest } = await import(${JSON.stringify(import.meta.resolve('./rest.js'))});
    const idle = process.memoryUsage().rss;
    let rows = Array.from({ length: 1_000_000 }, (_, i) => ({ name: 'row ' + i }));
    const grown = process.memoryUsage().rss;
    rows = undefined;
    tidyAtRest();
    for (let left = 60; left > 0 && process.memoryUsage().rss > idle + (grown - idle) / 4; left -= 1)
      await new Promise((resolve) => setTimeout(resolve, 500));
    console.log(JSON.stringify([idle, grown, process.memoryUsage().rss]));`;
  const printed: unknown = JSON.parse(
    await succeed(process.execPath, ['--input-type=module', '-e', program], { timeout: 60_000 }),
  );
  assert.ok(Array.isArray(printed));
  const [idle, grown, rested] = printed.map(Number);
  assert.ok(idle !== undefined && grown !== undefined && rested !== undefined);
  assert.ok(grown - idle > 50 * MIB, `grew by ${grown - idle} only`);
  assert.ok(rested - idle < (grown - idle) / 4, `of ${grown - idle} bytes ${rested - idle} are left`);
});
