import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Background, succeed } from './command.js';
import { scratch } from './scratch.js';

/** A real registry (docker-registry) on loopback, with storage of its own. */
export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:PORT`, plain HTTP. */
  readonly host: string;
  /** Where its blobs and links lie (distribution's filesystem driver). */
  readonly storage: string;
  /** Copies an OCI layout directory into the registry; resolves to `HOST/name:tag`. */
  push(layout: string, name: string, tag?: string): Promise<string>;
}

/** Starts a registry on a free port. Disposal stops it and removes its storage. */
export async function startRegistry(): Promise<Registry> {
  const directory = await scratch('registry');
  const storage = join(directory.path, 'storage');
  const config = join(directory.path, 'config.json'); // YAML 1.2 contains JSON
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: '127.0.0.1:0', secret: 'one registry, one secret' },
      log: { level: 'info' },
    }),
  );
  const server = new Background('docker-registry', ['serve', config]);
  const log = await server.stderr.until(/listening on 127\.0\.0\.1:\d+/);
  const host = /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1] ?? '';
  return {
    host,
    storage,
    async push(layout, name, tag = 'latest') {
      const reference = `${host}/${name}:${tag}`;
      const target = `docker://${reference}`;
      const options = ['--insecure-policy', 'copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false'];
      await succeed('skopeo', [...options, `oci:${layout}`, target], { timeout: 120_000 });
      return reference;
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}
