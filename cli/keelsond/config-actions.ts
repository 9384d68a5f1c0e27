/** What `keelsond config` does: it looks at a configuration without starting anything. */
import { type LoadedConfig, type LoadOptions, loadConfig } from '../../config/load.js';
import { annotatedDefault, dump, jsonSchema } from '../../config/render.js';
import type { Problem } from '../../kernel/errors.js';
import { starterOf } from './reload.js';

const problemsOf = async (config: LoadedConfig): Promise<readonly Problem[]> => [
  ...config.problems,
  ...(await starterOf(config).inspect()).problems,
];

const tell = (lines: readonly string[]): void => {
  for (const line of lines) process.stderr.write(`${line}\n`);
};

/** Tells every problem on stderr and throws when there is one. */
export async function checkConfig(options: LoadOptions): Promise<void> {
  const config = await loadConfig(options);
  tell(config.warnings.map((warning) => `warning: ${warning}`));
  const problems = await problemsOf(config);
  tell(problems.map(({ message }) => message));
  if (problems.length > 0) throw new Error(`${problems.length} problem${problems.length === 1 ? '' : 's'} found`);
  process.stdout.write(`${config.files.join(', ') || 'built-in default'}: no problems\n`);
}

/** Prints the effective configuration. */
export async function printEffective(options: LoadOptions): Promise<void> {
  const config = await loadConfig(options);
  tell(config.warnings.map((warning) => `warning: ${warning}`));
  if (config.problems.length > 0) throw new Error(config.problems.map(({ message }) => message).join('\n'));
  process.stdout.write(await dump(config));
}

const write = (text: string): void => {
  process.stdout.write(text);
};

export const printDefault = async (): Promise<void> => write(await annotatedDefault());

export const printSchema = async (): Promise<void> => write(`${JSON.stringify(await jsonSchema(), undefined, 2)}\n`);
