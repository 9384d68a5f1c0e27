/** `shim`: one task, past the daemon. */
import { Command } from 'commander';
import { VERSION } from '../../lib/version.js';
import { runProgram } from '../connection.js';
import { addControl } from './commands/control.js';
import { addCreate } from './commands/create.js';
import { addDelete } from './commands/delete.js';
import { addEvents } from './commands/events.js';
import { addExec } from './commands/exec.js';
import { addState } from './commands/state.js';
import { withShim } from './connection.js';

const program = withShim(
  new Command('shim')
    .description('speak with what watches over a task, past the daemon')
    .version(VERSION)
    .enablePositionalOptions(),
);
for (const add of [addCreate, addState, addExec, addControl, addDelete, addEvents]) add(program);

void runProgram(program);
