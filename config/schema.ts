/** The settings that are not a plugin's own. */
import { z } from 'zod';
import { proxyTable } from '../lib/proxy-settings.js';
import { LOG_LEVELS } from './levels.js';

const absolute = z.string().regex(/^\//, 'an absolute path is expected');
const seconds = z.number().positive();

const plugin = z
  .object({
    package: z
      .string()
      .min(1)
      .optional()
      .describe('npm package that holds the plugin; without it and "path" it is one of the tree'),
    path: absolute
      .optional()
      .describe('module, or directory of a package, that holds the plugin; relative to the file'),
    required: z.boolean().optional().describe('nothing starts unless this plugin does; default false'),
    enabled: z.boolean().optional().describe('default true'),
    start_deadline: seconds.optional().describe('seconds that its import, and then its start, may take; default 10'),
    stop_deadline: seconds.optional().describe('seconds that its stop may take; default 10'),
    config: z.record(z.string(), z.unknown()).optional().describe("the plugin's own settings"),
  })
  .strict();

export const Settings = z
  .object({
    root: absolute.default('/var/lib/keelson').describe('what survives a reboot; one daemon at a time'),
    state: absolute.default('/run/keelson').describe('what lasts until reboot'),
    log: z
      .object({ level: z.enum(LOG_LEVELS).default('info').describe('least severity that is logged') })
      .strict()
      .prefault({}),
    required_plugins: z.array(z.string()).default([]).describe('nothing starts unless these do: ids, or wire names'),
    disabled_plugins: z.array(z.string()).default([]).describe('these never start: ids, or wire names'),
    imports: z
      .array(z.string())
      .default([])
      .describe('further files, or globs, relative to this file; they override it'),
    plugins: z.record(z.string(), plugin).default({}),
    proxy_plugins: z
      .record(
        z.string(),
        z.lazy(() =>
          proxyTable().extend({
            required: z.boolean().optional().describe('nothing starts unless this plugin does; default false'),
            enabled: z.boolean().optional().describe('default true'),
          }),
        ),
      )
      .default({})
      .describe('plugins in processes of their own, over a gRPC socket'),
  })
  .strict();

export type Settings = z.infer<typeof Settings>;
