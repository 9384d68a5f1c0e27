import { describe } from 'node:test';
import { eventsConformance } from '../events.js';
import { eventsMutants, soundEvents } from './events.js';
import { mutantsAreCaught } from './mutant.js';

describe('the kit of event buses', () => {
  mutantsAreCaught(eventsConformance, () => soundEvents, eventsMutants);
});
