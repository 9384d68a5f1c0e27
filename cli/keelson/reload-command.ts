/** `keelson reload`: the daemon reads its configuration again, and says what came of it. */
import { Command } from 'commander';
import { hasCode, unavailable } from '../../kernel/errors.js';
import { onDaemon } from '../connection.js';

const line = (verb: string, plugins: readonly string[]): string =>
  plugins.length === 0 ? '' : `${verb}: ${plugins.join(', ')}\n`;

/** A daemon that changes its own socket ends the call that asked for it. */
function explain(error: unknown): unknown {
  if (!hasCode(error, 'UNAVAILABLE')) return error;
  const remedy = 'if the change was to the server itself, the log of the daemon has the outcome';
  return unavailable('the connection ended before the daemon had answered', { remedy, cause: error });
}

export const reloadCommand = (): Command =>
  new Command('reload')
    .description('make the daemon read its configuration again; exits with 1, and says why, when nothing was changed')
    .action((_, command: Command) =>
      onDaemon(command, async ({ control }) => {
        const { stopped, started, problems } = await control.reload({}).catch((error: unknown) => {
          throw explain(error);
        });
        const restarted = started.filter((id) => stopped.includes(id));
        const rest = (ids: readonly string[]) => ids.filter((id) => !restarted.includes(id));
        const lines = [
          line('restarted', restarted),
          line('stopped', rest(stopped)),
          line('started', rest(started)),
          ...problems.map((problem) => `problem: ${problem}\n`),
        ].join('');
        process.stdout.write(lines || 'nothing to change\n');
      }),
    );
