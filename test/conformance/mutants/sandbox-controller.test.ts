import { describe } from 'node:test';
import { sandboxControllerConformance } from '../sandbox-controller.js';
import { mutantsAreCaught } from './mutant.js';
import { sandboxControllerMutants, soundController } from './sandbox-controller.js';

describe('the kit of sandbox controllers', () => {
  mutantsAreCaught(sandboxControllerConformance, () => soundController, sandboxControllerMutants);
});
