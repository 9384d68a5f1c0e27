/** `keelsond` as a process, for tests of what it does with its plugins. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'smol-toml';
import { builtins } from '../../config/builtins.js';
import type { PluginEntry } from '../../kernel/index.js';
import { eventually } from './eventually.js';
import type { Scratch } from './scratch.js';

const MAIN = join(import.meta.dirname, '../../cli/keelsond/main.js');

/** The text of a plugin module whose `start` has this body. */
const moduleOf = (id: string, body: string): string => `
  const config = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } };
  export const plugin = { id: '${id}', api: 1, wire: { type: 'test', id: '${id}' }, config, requires: {}, provides: {},
    start: async ({ onStop, stateDir, signal }) => { ${body}; return {}; } };`;

/** The daemon on plugins of the test alone; `Daemon` is the one for clients. */
export class Keelsond implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly ended: Promise<number | string>;
  output = '';

  constructor(directory: Scratch, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const at = ['--root', join(directory.path, 'root'), '--state', join(directory.path, 'state')];
    const config = ['--config', join(directory.path, 'config.toml')];
    this.#process = spawn(process.execPath, [MAIN, ...config, ...at, ...args], { env: { ...process.env, ...env } });
    this.#process.stderr?.on('data', (text) => {
      this.output += text;
    });
    this.ended = new Promise((resolve) => this.#process.on('exit', (code, signal) => resolve(code ?? signal ?? '')));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async says(text: string | RegExp): Promise<void> {
    const pattern = new RegExp(text);
    await eventually(`${pattern} in the log`, () => (pattern.test(this.output) ? true : undefined)).catch((error) => {
      throw new Error(`${error.message}; it said:\n${this.output}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
  }
}

/** A configuration of these plugins alone, each given by the body of its `start`, or by the text of its module. */
export function configure(
  directory: Scratch,
  plugins: Readonly<Record<string, string>>,
  required: readonly string[] = [],
  kept: readonly string[] = [],
  entry: PluginEntry = {},
): void {
  for (const [id, body] of Object.entries(plugins))
    writeFileSync(join(directory.path, `${id}.mjs`), /\bexport\b/.test(body) ? body : moduleOf(id, body));
  const entries = Object.keys(plugins).map((id) => [id, { path: `${id}.mjs`, ...entry }]);
  const settings = {
    disabled_plugins: Object.keys(builtins).filter((id) => !kept.includes(id)),
    required_plugins: required,
    plugins: Object.fromEntries(entries),
  };
  writeFileSync(join(directory.path, 'config.toml'), stringify(settings));
}
