import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { readStat } from '../../lib/linux/proc.js';
import { proxySettings } from '../../lib/proxy-settings.js';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { SupervisedProcess } from './process.js';

async function supervised(
  command: readonly string[],
  more: object,
  body: (
    process: SupervisedProcess,
    shown: readonly string[],
    lines: readonly string[],
    directory: string,
  ) => Promise<void>,
): Promise<void> {
  await using directory = await scratch('process');
  const [shown, lines]: [string[], string[]] = [[], []];
  const settings = proxySettings.parse({ type: 'snapshot', address: '/nowhere', command, ...more });
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const show = (state: string): void => void shown.push(state);
  const subject = new SupervisedProcess({ settings, directory: directory.path, log, show });
  try {
    await body(subject, shown, lines, directory.path);
  } finally {
    await subject.stop();
  }
}

describe('a supervised process', () => {
  it('has only the environment it is given; what it prints is in the log', () =>
    supervised(['sh', '-c', 'echo "$A $HOME."; sleep 100'], { env: { A: 'b' } }, async (subject, shown, lines) => {
      subject.start();
      await eventually('its line', () => (lines.join('').includes('"line":"b ."') ? true : undefined));
      assert.match(shown.join(), /^running as process \d+, 0 restarts$/);
    }));

  it('is started again ever later, up to the limit', () =>
    supervised(['false'], { max_restart_delay: 0.3 }, async (subject, shown) => {
      subject.start();
      await eventually('four restarts', () => (shown.some((text) => text.includes('restart 4 in')) ? true : undefined));
      const delays = shown.flatMap((text) => /restart \d in ([\d.]+) s/.exec(text)?.[1] ?? []);
      assert.deepEqual(delays.slice(0, 4), ['0.1', '0.2', '0.3', '0.3']);
    }));

  it('that cannot be started says so, and is tried again', () =>
    supervised(['/no/such/program'], { max_restart_delay: 0.1 }, async (subject, shown) => {
      subject.start();
      await eventually('a second try', () => (shown.some((text) => text.includes('restart 2 in')) ? true : undefined));
      assert.match(shown.join(), /cannot be started: .*ENOENT/);
    }));

  it('that ignores SIGTERM is killed', () =>
    supervised(
      ['sh', '-c', 'trap "" TERM; echo up; while :; do sleep 1; done'],
      { stop_timeout: 0.2 },
      async (subject, _, lines) => {
        subject.start();
        await eventually('it is up', () => (lines.join('').includes('up') ? true : undefined));
        const begin = performance.now();
        await subject.stop();
        assert.ok(performance.now() - begin < 5000);
      },
    ));

  it('takes the place of the one that a killed daemon left, and of no stranger', () =>
    supervised(['sleep', '100'], {}, async (subject, _shown, _lines, directory) => {
      const [left, stranger] = [
        spawn('sleep', ['100'], { detached: true }),
        spawn('sleep', ['100'], { detached: true }),
      ];
      const pid = left.pid ?? 0;
      writeFileSync(join(directory, 'process'), `${pid} ${readStat(pid)?.startTime}`);
      const ended = once(left, 'exit');
      subject.start();
      assert.equal((await ended)[1], 'SIGKILL');
      await subject.stop();
      writeFileSync(join(directory, 'process'), `${stranger.pid} 1`);
      subject.start();
      assert.equal(stranger.exitCode ?? stranger.signalCode, null);
      stranger.kill();
    }));
});
