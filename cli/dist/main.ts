/** `dist`: everything for images, on our daemon; all but pulling on any containerd. */
import { Command } from 'commander';
import { VERSION } from '../../lib/version.js';
import { runProgram, withConnection } from '../connection.js';
import { addContent, addContentVerbs } from './commands/content.js';
import { addImages } from './commands/images.js';
import { addPull } from './commands/pull.js';
import { addRootfs } from './commands/rootfs.js';

const program = withConnection(
  new Command('dist').description('fetch and manage images').version(VERSION).enablePositionalOptions(),
);
for (const add of [addPull, addImages, addContent, addRootfs, addContentVerbs]) add(program);

await runProgram(program);
