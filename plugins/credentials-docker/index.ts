import { z } from 'zod';
import { CredentialSources } from '../../kernel/contracts/credentials.js';
import { definePlugin } from '../../kernel/plugin.js';
import { DockerCredentials } from './docker-credentials.js';

/** Who the daemon is to registries, by a `config.json` of Docker's form and the helpers that it names. */
export const plugin = definePlugin({
  id: 'credentials-docker',
  api: 1,
  wire: { type: 'io.keelson.credentials.v1', id: 'docker' },
  config: z
    .object({
      file: z.string().default('').describe("Docker's config.json, such as /root/.docker/config.json; empty: none"),
      path: z
        .string()
        .default('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
        .describe('PATH in which docker-credential-* programs are looked for'),
      home: z.string().default('/root').describe('HOME of those programs'),
      deadline: z.int().min(100).max(600_000).default(10_000).describe('milliseconds until such a program is killed'),
    })
    .strict(),
  requires: {},
  provides: { source: CredentialSources },
  async start({ config, skip }) {
    if (config.file === '') skip('no file is configured');
    return { source: new DockerCredentials(config) };
  },
});
