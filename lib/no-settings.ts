/** What a plugin without settings has for a configuration. One for all of them: a schema takes a start some time to make. */
import { z } from 'zod';

export const noSettings = z.object({}).strict();
