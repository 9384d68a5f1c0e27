/** `dist`: everything for images, on our daemon; all but transfers on any containerd. */
import { Command } from 'commander';
import { VERSION } from '../../lib/version.js';
import { runProgram, withConnection } from '../connection.js';
import { addArchives } from './commands/archive.js';
import { addContent, addContentVerbs } from './commands/content.js';
import { addImages } from './commands/images.js';
import { addLayers } from './commands/layers.js';
import { addPull } from './commands/pull.js';
import { addPush } from './commands/push.js';
import { addRootfs } from './commands/rootfs.js';
import { addSpace } from './commands/space.js';

const program = withConnection(
  new Command('dist').description('fetch and manage images').version(VERSION).enablePositionalOptions(),
);
for (const add of [
  addPull,
  addPush,
  addArchives,
  addImages,
  addContent,
  addRootfs,
  addLayers,
  addSpace,
  addContentVerbs,
])
  add(program);

void runProgram(program);
