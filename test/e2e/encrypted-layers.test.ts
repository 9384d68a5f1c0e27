/** An image whose layers are encrypted: stream processors of containerd's own configuration make it one that runs. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { Ctr, Daemon, imageLayout, scratch, succeed } from '../harness/index.js';
import { ScriptedRegistry } from '../hostile/registry.js';

const PASSWORD = 'pass:correct horse';
const CIPHER = ['enc', '-aes-256-ctr', '-pbkdf2', '-iter', '1', '-pass'];
const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** A cipher in front of the gzip layer, and base64 around that: two processors, one after the other. */
const config = `version = 2
[stream_processors]
  [stream_processors."test.unwrap"]
    accepts = ["${GZIP}+encrypted+base64"]
    returns = "${GZIP}+encrypted"
    path = "base64"
    args = ["-d"]
  [stream_processors."test.decrypt"]
    accepts = ["${GZIP}+encrypted"]
    returns = "${GZIP}"
    path = "openssl"
    args = ${JSON.stringify([...CIPHER.slice(0, 2), '-d', ...CIPHER.slice(2), PASSWORD])}
  [stream_processors."test.wrong-key"]
    accepts = ["${GZIP}+encrypted-otherwise"]
    returns = "${GZIP}"
    path = "/bin/sh"
    args = ["-c", "cat >/dev/null; echo wrong key >&2; exit 1"]
`;

const descriptor = z.looseObject({ mediaType: z.string(), digest: z.string(), size: z.number() });
const manifestSchema = z.looseObject({ config: descriptor, layers: z.array(descriptor) });

const registry = await ScriptedRegistry.start();
after(() => registry[Symbol.asyncDispose]());
const daemon = await Daemon.start({ kind: 'keelsond', config });
after(() => daemon[Symbol.asyncDispose]());
/** A namespace for each way to pull, since layers that are there already are not unpacked again. */
const own = (name: string): string => `e2e-encrypted-${name}-${process.pid}`;
const distOf = (namespace: string) =>
  new Ctr({
    address: daemon.address,
    namespace,
    program: fileURLToPath(new URL('../../../bin/dist', import.meta.url)),
  });

/** Puts the busybox image with its layers encrypted into the registry; resolves to its reference. */
async function publish(tag: string, mediaType: string): Promise<string> {
  await using directory = await scratch('encrypt');
  const layout = await imageLayout('busybox');
  const blob = (digest: string) => readFile(join(layout, 'blobs', digest.replace(':', '/')));
  const index = z
    .object({ manifests: z.array(descriptor) })
    .parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  const manifest = manifestSchema.parse(JSON.parse((await blob(index.manifests[0]?.digest ?? '')).toString()));
  const layers = [];
  for (const { digest } of manifest.layers) {
    const [plain, secret] = [join(directory.path, 'plain'), join(directory.path, 'secret')];
    await writeFile(plain, await blob(digest));
    await succeed('openssl', [...CIPHER, PASSWORD, '-in', plain, '-out', secret]);
    const bytes = await readFile(secret);
    assert.notEqual(createHash('sha256').update(bytes).digest('hex'), digest.slice('sha256:'.length));
    const wrapped = mediaType.endsWith('+base64') ? Buffer.from(bytes.toString('base64')) : bytes;
    layers.push(registry.addBlob(wrapped, mediaType));
  }
  const own = registry.addBlob(await blob(manifest.config.digest), manifest.config.mediaType);
  const { mediaType: kind } = index.manifests[0] ?? { mediaType: '' };
  registry.addManifest({ ...manifest, config: own, layers }, kind, tag);
  return `${registry.host}/secret/busybox:${tag}`;
}

const runs = (ctr: Ctr, reference: string) => ctr.ok('run', '--rm', reference, 'one', 'echo', 'decrypted');

test('ctr pulls it, layer by layer, and runs it', async () => {
  const reference = await publish('wrapped', `${GZIP}+encrypted+base64`);
  const ctr = daemon.ctr(own('ctr'));
  await ctr.ok('images', 'pull', '--plain-http', reference);
  assert.equal(await runs(ctr, reference), 'decrypted\n');
});

test('dist pulls it with one call, and it runs', async () => {
  const reference = await publish('encrypted', `${GZIP}+encrypted`);
  const namespace = own('dist');
  await distOf(namespace).ok('pull', '--plain-http', reference);
  assert.equal(await runs(daemon.ctr(namespace), reference), 'decrypted\n');
});

test('with a processor that fails neither pull leaves a snapshot, and both say why', async () => {
  const reference = await publish('otherwise', `${GZIP}+encrypted-otherwise`);
  const ctr = daemon.ctr(own('failing'));
  for (const pull of [
    () => ctr.fails('images', 'pull', '--plain-http', reference),
    () => distOf(ctr.namespace).fails('pull', '--plain-http', reference),
  ])
    assert.match(await pull(), /stream processor "test\.wrong-key" ended with status 1: wrong key/);
  assert.deepEqual(await ctr.rows('snapshots', 'ls'), []);
});
