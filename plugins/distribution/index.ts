import { z } from 'zod';
import { Archives } from '../../kernel/contracts/archives.js';
import { Content } from '../../kernel/contracts/content.js';
import { CredentialSources } from '../../kernel/contracts/credentials.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { ImageVerifiers } from '../../kernel/contracts/image-verifiers.js';
import { Images } from '../../kernel/contracts/images.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { VERSION } from '../../lib/version.js';
import { releaseUnfinished } from './job.js';
import { OnDemandDistribution } from './on-demand.js';

const milliseconds = () => z.int().min(1).max(3_600_000);

/** Images from and to registries and archives, inside the daemon. */
export const plugin = definePlugin({
  id: 'distribution',
  api: 1,
  wire: { type: 'io.containerd.transfer.v1', id: 'local' },
  config: z
    .object({
      downloads: z.int().min(1).max(64).default(3).describe('blobs downloaded at once, by all pulls together'),
      download_chunk: z
        .int()
        .min(0)
        .max(2 ** 30)
        .default(0)
        .describe(
          'bytes of the ranges in which larger blobs are downloaded side by side, over as many of `downloads` as are idle; each is held in memory; 0: in one request',
        ),
      upload_chunk: z
        .int()
        .min(0)
        .max(2 ** 40)
        .default(0)
        .describe('bytes from which on blobs are uploaded in chunks of that size; 0: in one request while that works'),
      discard_unpacked_layers: z
        .boolean()
        .default(false)
        .describe(
          'blobs of layers are not kept once these are unpacked; such an image can be run, but not pushed or exported',
        ),
      hosts_directories: z
        .array(z.string())
        .default(['/etc/containerd/certs.d', '/etc/docker/certs.d'])
        .describe('where <host>/hosts.toml files are looked for; read again on each pull'),
      dial_timeout: milliseconds().default(30_000).describe('milliseconds to connect to a registry'),
      header_timeout: milliseconds().default(60_000).describe('milliseconds until a registry has answered'),
      idle_timeout: milliseconds()
        .default(60_000)
        .describe('milliseconds without progress until a download is retried'),
      attempts: z.int().min(1).max(20).default(5).describe('tries in a row without any progress'),
      first_delay: milliseconds().default(250).describe('milliseconds before the second try; doubled for each after'),
      longest_delay: milliseconds()
        .default(30_000)
        .describe('milliseconds; a registry that asks for more is given up on'),
      max_document: z
        .int()
        .min(65_536)
        .max(64 * 1024 * 1024)
        .default(4_393_216)
        .describe('bytes of a manifest, an index or a configuration'),
    })
    .strict(),
  requires: {
    content: Content,
    credentials: CredentialSources,
    diff: Diff,
    images: Images,
    leases: Leases,
    namespaces: Namespaces,
    snapshots: Snapshots,
    verifiers: ImageVerifiers,
  },
  provides: { distribution: Distribution, archives: Archives },
  async start({ config, deps, log, onStop }) {
    await releaseUnfinished(deps.leases, deps.namespaces);
    const settings = {
      discardUnpacked: config.discard_unpacked_layers,
      downloads: config.downloads,
      downloadChunk: config.download_chunk,
      uploadChunk: config.upload_chunk,
      hostsDirectories: config.hosts_directories,
      userAgent: `keelson/${VERSION}`,
      limits: {
        retry: { attempts: config.attempts, firstDelay: config.first_delay, longestDelay: config.longest_delay },
        dialTimeout: config.dial_timeout,
        headerTimeout: config.header_timeout,
        idleTimeout: config.idle_timeout,
        maxDocument: config.max_document,
      },
    };
    const distribution = new OnDemandDistribution(async () => {
      const { RegistryDistribution } = await import('./distribution.js');
      return new RegistryDistribution(deps, settings, log);
    });
    onStop(() => distribution.stop());
    return { distribution, archives: distribution.archives };
  },
});
