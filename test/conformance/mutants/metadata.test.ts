import { describe } from 'node:test';
import { metadataConformance } from '../metadata.js';
import { metadataMutants, soundMetadata } from './metadata.js';
import { mutantsAreCaught } from './mutant.js';

describe('the kit of records', () => {
  mutantsAreCaught(metadataConformance, () => soundMetadata, metadataMutants);
});
