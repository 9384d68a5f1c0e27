import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Progress } from '../../../client/index.js';
import { PlainDisplay } from './display.js';
import { PullState } from './pull-state.js';

const NAME = `layer-sha256:${'ab'.repeat(32)}`;
const OTHER = `layer-sha256:${'cd'.repeat(32)}`;

const about = (name: string, event: string, progress = 0, total = 10_000): Progress => ({
  event,
  name,
  parents: [],
  progress: BigInt(progress),
  total: BigInt(total),
  desc: undefined,
});

describe('the state of a pull', () => {
  it('adds up what came over the network, and only that', () => {
    const state = new PullState(0);
    state.update(about(NAME, 'waiting'), 0);
    state.update(about(OTHER, 'already exists', 10_000), 0);
    state.update(about(NAME, 'downloading', 4000), 1000);
    assert.equal(state.downloaded, 4000);
    state.update(about(NAME, 'complete', 10_000), 2000);
    state.update(about(NAME, 'extracting', 2000), 2100);
    assert.equal(state.downloaded, 10_000);
  });

  it('knows rate and time left', () => {
    const state = new PullState(0);
    state.update(about(NAME, 'waiting'), 0);
    assert.equal(state.timeLeft(0), undefined);
    state.update(about(NAME, 'downloading', 2000), 1000);
    assert.equal(state.rate(1000), 2000);
    assert.equal(state.timeLeft(1000), 4000);
    state.update(about(NAME, 'complete', 10_000), 2000);
    assert.equal(state.timeLeft(2000), 0);
  });

  it('forgets how fast it was long ago', () => {
    const state = new PullState(0);
    for (let second = 1; second <= 10; second++) {
      state.update(about(NAME, 'downloading', Math.min(second, 5) * 1000), second * 1000);
    }
    assert.equal(state.rate(10_000), 0);
  });

  it('tells changes of status only', () => {
    const state = new PullState(0);
    assert.equal(state.update(about(NAME, 'downloading', 1), 1)?.name, NAME);
    assert.equal(state.update(about(NAME, 'downloading', 2), 2), undefined);
    assert.equal(state.update(about('', 'Pulling from somewhere'), 3), undefined);
    assert.equal(state.sentence, 'Pulling from somewhere');
  });
});

describe('plain lines', () => {
  it('are printed once for each step', () => {
    let text = '';
    const display = new PlainDisplay((line) => {
      text += line;
    });
    for (const event of ['waiting', 'downloading', 'downloading', 'complete', 'extracting', 'extracted']) {
      display.update(about(NAME, event, 10_000));
    }
    display.end(true);
    const lines = text.split('\n');
    assert.deepEqual(lines.slice(0, 3), [
      'layer abababababab downloading 9.8 KiB',
      'layer abababababab complete 9.8 KiB',
      'layer abababababab extracted',
    ]);
    assert.match(lines[3] ?? '', /^[\d.]+ s, 9\.8 KiB/);
  });

  it('show nothing that a terminal obeys', () => {
    let text = '';
    const display = new PlainDisplay((line) => {
      text += line;
    });
    display.update(about('\u001b[31mevil\n', 'down\u0007loading'));
    assert.doesNotMatch(text.trimEnd(), /\p{Cc}/u);
  });
});
