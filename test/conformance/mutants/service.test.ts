import { describe } from 'node:test';
import { serviceConformance } from '../service.js';
import { mutantsAreCaught } from './mutant.js';
import { serviceMutants, soundService } from './service.js';

describe('the kit of services', () => {
  mutantsAreCaught(serviceConformance, () => soundService, serviceMutants);
});
