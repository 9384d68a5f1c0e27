import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { scratch } from '../../test/harness/scratch.js';

const mountTable = new URL('mount-table.js', import.meta.url).href;
const readTable = `for (let round = 0; round < 100; round++) (await import('${mountTable}')).mountTable();`;

/** Many mounts, then one whose line is longer than 8 KiB, then more, in a namespace that ends with the shell. */
const MOUNTS = `
set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir source long
for number in $(seq 120); do
  mkdir $number
  mount --bind source $number
  [ $number != 40 ] || mount -t tmpfs "$(head -c 3000 /dev/zero | tr '\\0' ' ')" long
done
exec "$2" --input-type=module --eval "$3"
`;

it('a mount table with a line of many kilobytes is read', async () => {
  await using directory = await scratch('mountinfo');
  const arguments_ = ['--mount', '--propagation', 'private', 'sh', '-c', MOUNTS, 'sh', directory.path];
  const { status, signal, stderr } = spawnSync('unshare', [...arguments_, process.execPath, readTable], {
    encoding: 'utf8',
  });
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
});
