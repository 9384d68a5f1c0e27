import { after, before, describe } from 'node:test';
import { daemonConformance } from '../daemon.js';
import { daemonMutants, RealDaemon } from './daemon.js';
import { mutantsAreCaught } from './mutant.js';

describe('the kit of daemons', () => {
  let real: RealDaemon;
  before(async () => {
    real = await RealDaemon.start();
  });
  after(() => real[Symbol.asyncDispose]());

  mutantsAreCaught(
    daemonConformance,
    () => real.sound(),
    daemonMutants(() => real),
  );
});
