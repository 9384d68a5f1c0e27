/**
 * Real images for tests, made from this system's own files, so that no test
 * needs a network. Each is an OCI layout, built once and kept in a cache.
 */
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { succeed } from './command.js';

/**
 * - `busybox`: one layer, static; runs `sh`.
 * - `layered`: five layers, the first of them busybox, the others a file each.
 * - `node`: the pinned Node with the libraries it needs; two layers.
 * - `debian`: a Debian userland, its big programs, odd files of every kind, and
 *   a layer of whiteouts and replacements; above 100 MB compressed.
 */
export type ImageName = 'busybox' | 'layered' | 'node' | 'debian';

const builder = fileURLToPath(new URL('./build-image.js', import.meta.url));

/** `KEELSON_IMAGE_CACHE`, else a folder beside the test data. */
export const imageCache = (): string =>
  process.env.KEELSON_IMAGE_CACHE ?? join(process.env.KEELSON_TEST_DIR ?? tmpdir(), 'keelson-images');

/** The directory of an image's OCI layout, tagged `latest`; built by whoever comes first, waited for by others. */
export async function imageLayout(name: ImageName): Promise<string> {
  const cache = imageCache();
  await mkdir(cache, { recursive: true });
  const layout = join(cache, name);
  await succeed('flock', [join(cache, `${name}.lock`), process.execPath, builder, name, layout], { timeout: 300_000 });
  return layout;
}
