import { describe, it } from 'node:test';
import { differConformance } from '../differ.js';
import { differMutants, rewritingDiffer, soundDiffer } from './differ.js';
import { mutantsAreCaught } from './mutant.js';

describe('the kit of differs', () => {
  mutantsAreCaught(differConformance, () => soundDiffer, differMutants);
  differConformance({ describe, it }, rewritingDiffer);
});
