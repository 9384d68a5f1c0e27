/** `ctr`: everything for containers, on our daemon or on stock containerd. */
import { Command } from 'commander';
import { runProgram, withConnection } from '../connection.js';
import { addAttach } from './commands/attach.js';
import { addContainers } from './commands/containers.js';
import { addDaemon } from './commands/daemon.js';
import { addDelete } from './commands/delete.js';
import { addEvents } from './commands/events.js';
import { addExec } from './commands/exec.js';
import { addInfo } from './commands/info.js';
import { addKill } from './commands/kill.js';
import { addRun } from './commands/run.js';
import { addTasks } from './commands/tasks.js';

const program = withConnection(
  new Command('ctr').description('run and manage containers').version('0.1.0').enablePositionalOptions(),
);
const commands = [
  addRun,
  addExec,
  addAttach,
  addTasks,
  addContainers,
  addInfo,
  addKill,
  addDelete,
  addEvents,
  addDaemon,
];
for (const add of commands) add(program);

void runProgram(program);
