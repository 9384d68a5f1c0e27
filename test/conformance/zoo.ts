/** A directory with one of everything. */
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, makedev, mknodat } from '../../lib/linux/file.js';
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../../lib/linux/stat.js';
import { withFile } from './files.js';

/** Puts one of everything a filesystem can hold into a directory. */
export function zoo(root: string): void {
  const at = (name: string): string => join(root, name);
  writeFileSync(at('setuid'), 'program');
  chownSync(at('setuid'), 1000, 2000);
  chmodSync(at('setuid'), 0o6755);
  mkdirSync(at('sticky'));
  chmodSync(at('sticky'), 0o1777);
  mkdirSync(at('sticky/deep'));
  writeFileSync(at('sticky/deep/empty'), '');
  symlinkSync('../dangling', at('link'));
  symlinkSync('/etc', at('absolute'));
  lchownSync(at('link'), 7, 8);
  for (const [name, mode, device] of [
    ['null', S_IFCHR | 0o666, makedev(1, 3)],
    ['disk', S_IFBLK | 0o600, makedev(4095, 1_048_575)],
    ['fifo', S_IFIFO | 0o644, 0n],
  ] as const) {
    mknodat(AT_FDCWD, at(name), mode, device);
    chmodSync(at(name), mode & 0o7777);
  }
  writeFileSync(at('several'), 'names');
  linkSync(at('several'), at('sticky/second'));
  linkSync(at('several'), at('sticky/deep/third'));
  symlinkSync('target', at('a link with two names'));
  linkSync(at('a link with two names'), at('sticky/its second name'));
  writeFileSync(at('attributes'), 'text');
  withFile(at('attributes'), (file) => {
    file.setAttribute('user.key', 'value');
    file.setAttribute('user.empty', '');
    // cap_net_raw+ep, as setcap(8) writes it.
    file.setAttribute('security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex'));
  });
  mkdirSync(at('with attributes'));
  withFile(at('with attributes'), (file) => file.setAttribute('trusted.key', 'value'));
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x6e, 0xff, 0xfe])]), 'a name that is not UTF-8');
  writeFileSync(at('sparse'), 'start');
  truncateSync(at('sparse'), 10 * 1024 * 1024);
}
