import { describe } from 'node:test';
import { runtimeConformance } from '../runtime.js';
import { mutantsAreCaught } from './mutant.js';
import { runtimeMutants, soundRuntime } from './runtime.js';

describe('the kit of runtimes', () => {
  mutantsAreCaught(runtimeConformance, soundRuntime, runtimeMutants, { soundIn: 'those that catch' });
});
