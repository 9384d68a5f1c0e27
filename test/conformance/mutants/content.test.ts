import { describe } from 'node:test';
import { contentConformance } from '../content.js';
import { contentMutants, soundContent } from './content.js';
import { mutantsAreCaught } from './mutant.js';

describe('the kit of content stores', () => {
  mutantsAreCaught(contentConformance, () => soundContent, contentMutants);
});
