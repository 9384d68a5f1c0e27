import { describe } from 'node:test';
import { snapshotterConformance } from '../snapshotter.js';
import { mutantsAreCaught } from './mutant.js';
import { snapshotterMutants, soundSnapshotter } from './snapshotter.js';

describe('the kit of snapshotters', () => {
  mutantsAreCaught(snapshotterConformance, soundSnapshotter, snapshotterMutants);
});
