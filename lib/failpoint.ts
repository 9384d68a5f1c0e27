/**
 * Named places where a test makes the program fail. Nothing happens unless the
 * environment says so when the process starts:
 *
 *     KEELSON_FAILPOINTS='content.rename=2*off->kill;db.commit=error'
 *
 * Terms are taken one after another; `N*` repeats one, and the last goes on
 * for ever. `off` does nothing, `error` throws, `kill` ends the process as
 * kill -9 does.
 */
import { internal, invalidArgument } from '../kernel/errors.js';

type Action = 'off' | 'error' | 'kill';

interface Term {
  readonly action: Action;
  left: number;
}

const TERM = /^(?:(\d+)\*)?(off|error|kill)$/;

const isAction = (text: string | undefined): text is Action => text === 'off' || text === 'error' || text === 'kill';

function parseTerm(text: string): Term {
  const [, count, action] = TERM.exec(text.trim()) ?? [];
  if (!isAction(action)) throw invalidArgument(`failpoint term "${text}" is not [N*]off, error or kill`);
  return { action, left: count === undefined ? Number.POSITIVE_INFINITY : Number(count) };
}

function parse(text: string): Map<string, Term[]> {
  const entries = text.split(';').filter((entry) => entry.trim() !== '');
  return new Map(
    entries.map((entry) => {
      const [name = '', terms = ''] = entry.split('=');
      return [name.trim(), terms.split('->').map(parseTerm)];
    }),
  );
}

const points = parse(process.env.KEELSON_FAILPOINTS ?? '');

/** Does what the environment asks for at this place; by default nothing. */
export function failpoint(name: string): void {
  if (points.size === 0) return;
  const term = points.get(name)?.find(({ left }) => left > 0);
  if (!term) return;
  term.left -= 1;
  if (term.action === 'error') throw internal(`failpoint "${name}"`);
  if (term.action === 'kill') process.kill(process.pid, 'SIGKILL');
}
