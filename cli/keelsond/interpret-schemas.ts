/**
 * Schemas are walked, not compiled: what the daemon parses is small and parsed rarely, so that making code for each
 * schema takes longer than it ever saves. Imported before everything that makes one.
 */
import { config } from 'zod';

config({ jitless: true });
