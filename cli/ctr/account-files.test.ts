/** passwd(5) and group(5) of a container are whatever its image says they are. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { makeFifo } from '../../lib/linux/fifo.js';
import { succeed } from '../../test/harness/command.js';
import { scratch } from '../../test/harness/scratch.js';
import { readAccountFiles } from './account-files.js';

/** Runs `check` on a root whose `etc` is made by `make`. */
async function withRoot(make: (etc: string, root: string) => void | Promise<void>, check: (root: string) => void) {
  await using place = await scratch('accounts');
  const root = join(place.path, 'root');
  const etc = join(root, 'etc');
  mkdirSync(etc, { recursive: true });
  writeFileSync(join(place.path, 'secret'), 'root::0:0');
  await make(etc, root);
  check(root);
}

const refused = (code: 'INVALID_ARGUMENT' | 'FAILED_PRECONDITION') => (root: string) =>
  assert.throws(
    () => readAccountFiles(root),
    (error) => hasCode(error, code),
  );

describe('account files of a container', () => {
  it('are read whole, and are empty where there are none', () =>
    withRoot(
      (etc) => writeFileSync(join(etc, 'passwd'), 'a:x:1:2\n'),
      (root) => assert.deepEqual(readAccountFiles(root), { passwd: 'a:x:1:2\n', group: '' }),
    ));

  it('are found through links, which never lead out of its root', () =>
    withRoot(
      (etc, root) => {
        writeFileSync(join(root, 'inside'), 'inside');
        symlinkSync('/inside', join(etc, 'passwd'));
        symlinkSync('../../../../../../secret', join(etc, 'group'));
      },
      (root) => assert.deepEqual(readAccountFiles(root), { passwd: 'inside', group: '' }),
    ));

  it('of ten gigabytes are refused unread', () =>
    withRoot((etc) => {
      writeFileSync(join(etc, 'passwd'), '');
      truncateSync(join(etc, 'passwd'), 10 * 2 ** 30);
    }, refused('INVALID_ARGUMENT')));

  it('that are a FIFO nobody writes to keep nobody waiting', () =>
    withRoot((etc) => makeFifo(join(etc, 'passwd')), refused('FAILED_PRECONDITION')));

  it('that are devices or directories are refused', async () => {
    // Endless zeros, were they read.
    await withRoot(async (etc) => {
      await succeed('mknod', [join(etc, 'passwd'), 'c', '1', '5']);
    }, refused('FAILED_PRECONDITION'));
    await withRoot((etc) => void mkdirSync(join(etc, 'group')), refused('FAILED_PRECONDITION'));
  });

  it('that are links in a circle are refused', () =>
    withRoot((etc) => {
      symlinkSync('group', join(etc, 'passwd'));
      symlinkSync('passwd', join(etc, 'group'));
    }, refused('INVALID_ARGUMENT')));
});
