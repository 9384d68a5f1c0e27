/** The program itself, against a kernel with the real plugins. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { z } from 'zod';
import { digestOf } from '../../lib/digest.js';
import { run } from '../../test/harness/command.js';
import { imageLayout } from '../../test/harness/images.js';
import { startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { type Registry, startRegistry } from '../../test/harness/registry.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { refuse, ScriptedRegistry } from '../../test/hostile/registry.js';

const MAIN = join(import.meta.dirname, 'main.js');
const SECRET = 'canary-7781';
const PLUGINS = [
  'containers-service',
  'content',
  'content-service',
  'diff',
  'diff-service',
  'differs',
  'distribution',
  'events',
  'images-service',
  'leases-service',
  'metadata',
  'server-grpc',
  'snapshot-overlay',
  'snapshots-service',
  'streaming',
  'streaming-service',
  'transfer',
];

describe('dist', () => {
  let directory: Scratch;
  let kernel: TestKernel;
  let registry: Registry;
  let reference: string;
  let address: string;

  before(async () => {
    directory = await scratch('dist');
    address = join(directory.path, 'd.sock');
    kernel = await startTestKernel({
      plugins: PLUGINS,
      config: { 'server-grpc': { address }, distribution: { hosts_directories: [], first_delay: 5 } },
    });
    registry = await startRegistry();
    reference = await registry.push(await imageLayout('busybox'), 'test/busybox');
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const dist = (args: readonly string[], input: string | Uint8Array = '') =>
    run(process.execPath, [MAIN, ...args], {
      env: { CONTAINERD_ADDRESS: address, CONTAINERD_NAMESPACE: 'cli', DOCKER_CONFIG: '/nonexistent' },
      input,
    });
  const ok = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await dist(args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const fails = async (args: readonly string[], message: RegExp): Promise<void> => {
    const { code, stderr } = await dist(args);
    assert.equal(code, 1);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n +at /);
  };
  const parse = <T extends z.ZodType>(schema: T, text: string): z.output<T> => schema.parse(JSON.parse(text));

  describe('pull', () => {
    it('prints plain lines where there is no terminal, the result last', async () => {
      const lines = (await ok('pull', '--plain-http', reference)).trimEnd().split('\n');
      assert.match(lines.at(-1) ?? '', new RegExp(`^${reference} sha256:[0-9a-f]{64}$`));
      assert.ok(
        lines.some((line) => /^layer [0-9a-f]{12} extracted$/.test(line)),
        lines.join('\n'),
      );
      assert.match(await ok('images', 'check'), /complete \(3\/3\) +true/);
    });

    it('draws on a terminal, in place', async () => {
      const command = [process.execPath, MAIN, '-a', address, '-n', 'terminal', 'pull', '--plain-http', reference].join(
        ' ',
      );
      const { stdout, code } = await run('script', ['-qec', `stty cols 100 rows 30; ${command}`, '/dev/null']);
      assert.equal(code, 0, stdout);
      assert.ok(stdout.includes('\u001b['), 'it moves the cursor');
      assert.match(stdout, /layer [0-9a-f]{12} +extracted/);
    });

    it('prints nothing but the result on request', async () => {
      const quiet = await ok('pull', '--plain-http', '--quiet', reference);
      assert.equal(quiet.split('\n').length, 2);
      const result = parse(
        z.object({ name: z.string(), digest: z.string() }),
        await ok('pull', '--format', 'json', reference),
      );
      assert.equal(result.name, reference);
    });

    it('labels, and leaves packed what is not to be unpacked', async () => {
      await ok('-n', 'packed', 'pull', '--plain-http', '--no-unpack', '--label', 'a=b', reference);
      assert.match(await ok('-n', 'packed', 'images', 'check'), /complete \(3\/3\) +false/);
      const list = parse(
        z.array(z.object({ labels: z.record(z.string(), z.string()) })),
        await ok('-n', 'packed', 'images', 'ls', '--format', 'json'),
      );
      assert.deepEqual(list[0]?.labels, { a: 'b' });
      const top = (await ok('-n', 'packed', 'rootfs', 'unpack', reference)).trim();
      assert.match(top, /^sha256:[0-9a-f]{64}$/);
      assert.match(await ok('-n', 'packed', 'images', 'check'), /true/);
    });

    it('logs in by argument or by standard input, and tells nobody', async () => {
      await using guarded = await ScriptedRegistry.start();
      const wanted = `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`;
      guarded.script(
        /./,
        (response, { headers }, normal) => {
          if (headers.authorization === wanted) normal();
          else refuse(response, 401, 'DENIED', 'who are you?', { 'www-authenticate': 'Basic realm="r"' });
        },
        100,
      );
      const text = `${guarded.host}/a/b:c`;
      await fails(['pull', text], /user name and a password/);
      await fails(['pull', '--user', `me:${SECRET}`, text], /NOT|not|404/);
      const byInput = await dist(['pull', '--user', 'me', '--password-stdin', text], `${SECRET}\n`);
      assert.match(byInput.stderr, /404/);
      const wrong = await dist(['pull', '--user', `me:${SECRET}x`, text]);
      assert.match(wrong.stderr, /refused the credentials/);
      assert.ok(!`${wrong.stderr}${wrong.stdout}`.includes(SECRET));
      await fails(['pull', '--user', 'me', text], /--password-stdin/);
      const home = join(directory.path, 'docker');
      await mkdir(home);
      const auth = Buffer.from(`me:${SECRET}`).toString('base64');
      await writeFile(join(home, 'config.json'), JSON.stringify({ auths: { [guarded.host]: { auth } } }));
      const byFile = await run(process.execPath, [MAIN, '-a', address, 'pull', text], { env: { DOCKER_CONFIG: home } });
      assert.match(byFile.stderr, /404/);
    });

    it('explains what went wrong', async () => {
      await fails(['pull', `${registry.host}/test/absent:latest`], /answered 404/);
      await fails(['pull', '::'], /malformed/);
      await fails(['pull', '--platform', 'linux/a b', reference], /platform/);
      await fails(
        ['pull', '--snapshotter', 'nope', reference],
        /snapshotter not loaded: "nope"; loaded are: overlayfs/,
      );
      await fails(['-a', '/nonexistent/d.sock', 'pull', reference], /\/nonexistent\/d\.sock/);
      const { code, stderr } = await dist(['pull']);
      assert.equal(code, 1);
      assert.match(stderr, /missing required argument/);
    });
  });

  describe('push, export and import', () => {
    beforeEach(() => ok('pull', '--quiet', reference));

    it('bring an image to a registry and back', async () => {
      const copy = `${registry.host}/copy/busybox:v1`;
      const lines = (await ok('push', '--plain-http', copy, reference)).trimEnd().split('\n');
      assert.match(lines.at(-1) ?? '', new RegExp(`^${copy} sha256:[0-9a-f]{64}$`));
      assert.ok(
        lines.some((line) => /^layer [0-9a-f]{12} (complete|already exists)/.test(line)),
        lines.join('\n'),
      );
      await ok('-n', 'copied', 'pull', '--plain-http', '-q', copy);
      assert.match(await ok('-n', 'copied', 'images', 'check'), /complete \(3\/3\) +true/);
      const again = parse(
        z.object({ name: z.string(), digest: z.string() }),
        await ok('images', 'push', '--format', 'json', '--plain-http', copy, reference),
      );
      assert.equal(`${again.name} ${again.digest}`, lines.at(-1));
      await fails(['push', '--plain-http', copy, 'absent'], /absent/);
    });

    it('write an archive that the other takes', async () => {
      const file = join(directory.path, 'busybox.tar');
      await ok('export', file, reference);
      const names = await ok('-n', 'imported', 'import', '-q', file);
      assert.equal(names, `${reference}\n`);
      assert.match(await ok('-n', 'imported', 'images', 'check'), /complete \(3\/3\) +true/);
      const { bytes } = await dist(['export', '-', reference]);
      assert.deepEqual(bytes, await readFile(file));
      const piped = await dist(['-n', 'piped', 'import', '--base-name', 'some.where/x', '--digests', '-'], bytes);
      assert.equal(piped.code, 0, piped.stderr);
      assert.match(await ok('-n', 'piped', 'images', 'ls', '-q'), /^some\.where\/x@sha256:[0-9a-f]{64}$/m);
      const json = await ok('-n', 'again', 'images', 'import', '--format', 'json', '--index-name', 'all', file);
      assert.deepEqual(parse(z.object({ images: z.array(z.string()) }), json).images, ['all', reference]);
    });

    it('leave no half a file, and say what is wrong', async () => {
      const file = join(directory.path, 'absent.tar');
      await fails(['export', file, 'absent'], /absent/);
      await fails(['import', file], /ENOENT/);
      await fails(['import', join(import.meta.dirname, 'main.js')], /malformed tar archive|neither an OCI layout/);
      assert.deepEqual(
        (await readdir(directory.path)).filter((name) => name.startsWith('absent')),
        [],
      );
    });
  });

  describe('images', () => {
    beforeEach(() => ok('pull', '--quiet', reference));

    it('are listed, tagged, labelled, inspected and removed', async () => {
      await ok('images', 'tag', reference, 'example.com/other:1');
      await fails(['images', 'tag', reference, 'example.com/other:1'], /--force/);
      await ok('images', 'tag', '--force', reference, 'example.com/other:1');
      await ok('images', 'label', 'example.com/other:1', 'k=v');
      assert.deepEqual((await ok('images', 'ls', '-q')).trim().split('\n'), [reference, 'example.com/other:1'].sort());
      assert.match(
        await ok('images', 'ls', 'name==example.com/other:1'),
        /^NAME.*\nexample\.com\/other:1 +sha256:\S+ +[\d.]+ \w+ +linux\//,
      );
      assert.match(await ok('images', 'inspect', reference), /├── application\/vnd\.oci\.image\.config/);
      const { code, stderr } = await dist(['images', 'rm', 'absent', 'example.com/other:1']);
      assert.deepEqual([code, stderr], [1, 'dist: no image of the name "absent"\n']);
      assert.equal(await ok('images', 'rm', '--sync', reference), `${reference}\n`);
      assert.equal(await ok('content', 'ls', '-q'), '');
    });
  });

  describe('content', () => {
    it('comes in, goes out, and goes on where it stopped', async () => {
      const bytes = randomBytes(3_000_000);
      const digest = digestOf(bytes);
      const sized = ['--expected-size', String(bytes.length), '--expected-digest', digest];
      const short = await dist(['ingest', 'mine', ...sized], bytes.subarray(0, 1_000_000));
      assert.equal(short.code, 1);
      const active = parse(
        z.array(z.object({ ref: z.string(), offset: z.number() })),
        await ok('active', '--format', 'json'),
      );
      assert.deepEqual(active, [{ ref: 'mine', offset: 1_000_000 }]);
      const whole = await dist(['content', 'ingest', 'mine', ...sized], bytes);
      assert.deepEqual([whole.stdout, whole.stderr], [`${digest}\n`, '']);
      const again = await dist(['ingest', 'other', ...sized], bytes);
      assert.equal(again.stdout, `${digest}\n`);
      const file = join(directory.path, 'got');
      await ok('content', 'get', digest, '--output', file);
      assert.deepEqual(await readFile(file), bytes);
      const piped = await dist(['get', digest]);
      assert.deepEqual(piped.bytes, bytes);
      await ok('content', 'label', digest, 'a=b');
      assert.match(await ok('content', 'ls', 'labels.a==b'), new RegExp(digest));
      assert.equal(await ok('delete', digest), `${digest}\n`);
      await fails(['delete', digest], /no content/);
      await fails(['get', digest], new RegExp(digest));
    });

    it('is refused when it is not what was expected', async () => {
      const wrong = await dist(['ingest', 'bad', '--expected-digest', digestOf(Buffer.from('x'))], 'y');
      assert.equal(wrong.code, 1);
      await ok('content', 'abort', 'bad');
      assert.deepEqual(parse(z.array(z.unknown()), await ok('active', '--format', 'json')), []);
      await fails(['ingest', 'bad', '--expected-digest', 'sha256:1'], /not a digest/);
    });

    it('is fetched without an unpack', async () => {
      await ok('-n', 'fetched', 'fetch', '--plain-http', '-q', reference);
      assert.match(await ok('-n', 'fetched', 'images', 'check'), /complete \(3\/3\) +false/);
    });
  });

  it('makes layers of directories and of root filesystems, and unpacks them', async () => {
    const at = (name: string) => join(directory.path, name);
    for (const name of ['lower', 'upper', 'out']) await mkdir(at(name));
    await writeFile(at('lower/gone'), 'x');
    await writeFile(at('upper/new'), 'hello');
    const digest = (await ok('diff', '--source-date-epoch', '1', at('lower'), at('upper'))).trim();
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    assert.equal((await ok('diff', '--source-date-epoch', '1', at('lower'), at('upper'))).trim(), digest);
    await writeFile(at('out/gone'), 'y');
    assert.match(await ok('apply', at('out'), digest), /^sha256:/);
    assert.deepEqual(await readdir(at('out')), ['new']);
    await ok('pull', '--quiet', reference);
    const top = (await ok('rootfs', 'unpack', reference)).trim();
    await ok('rootfs', 'prepare', 'changed', top);
    const layer = parse(
      z.object({ digest: z.string(), mediaType: z.string(), size: z.number() }),
      await ok('rootfs', 'diff', '--format', 'json', '--compression', 'zstd', 'changed'),
    );
    assert.match(layer.mediaType, /zstd$/);
    const whole = (await ok('rootfs', 'diff', top)).trim();
    assert.notEqual(whole, layer.digest);
    await ok('rootfs', 'rm', 'changed');
    await fails(['diff', '--compression', 'rar', at('lower'), at('upper')], /none of none, gzip, zstd/);
    await ok('delete', digest, layer.digest, whole);
  });

  describe('for programs', () => {
    const here = ['-n', 'programs'];
    const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
    const labels = z.record(z.string(), z.string());
    const times = { createdAt: z.iso.datetime(), updatedAt: z.iso.datetime() };
    const size = z.int().nonnegative();
    const platform = z.string().regex(/^linux\/\w+/);
    const node = z.strictObject({
      mediaType: z.string().min(1),
      digest,
      size,
      present: z.boolean(),
      platform: platform.optional(),
      chainId: digest.optional(),
      get children() {
        return z.array(node);
      },
    });
    const json = async <T extends z.ZodType>(schema: T, ...args: readonly string[]): Promise<z.output<T>> =>
      parse(schema, await ok(...here, ...args, '--format', 'json'));
    beforeEach(() => ok(...here, 'pull', '--quiet', reference));

    it('images are listed and checked', async () => {
      const listed = z.strictObject({
        name: z.string(),
        mediaType: z.string(),
        digest,
        size,
        platforms: z.array(platform),
        labels,
        ...times,
      });
      const [image] = await json(z.array(listed).length(1), 'images', 'ls');
      assert.equal(image?.name, reference);
      assert.equal(image?.platforms.length, 1);
      const checked = z.strictObject({
        name: z.string(),
        complete: z.boolean(),
        present: size,
        parts: size,
        unpacked: z.boolean(),
      });
      assert.deepEqual(await json(z.array(checked), 'images', 'check'), [
        { name: reference, complete: true, present: 3, parts: 3, unpacked: true },
      ]);
    });

    it('an image is inspected: its tree, platform, sizes, layers and the snapshot they make', async () => {
      const inspected = z.strictObject({ name: z.string(), labels, target: node });
      const { target } = await json(inspected, 'images', 'inspect', reference);
      assert.match(target.platform ?? '', /^linux\//);
      const [config, ...layers] = target.children;
      assert.match(config?.mediaType ?? '', /image\.config/);
      assert.equal(layers.length, 1);
      assert.ok(target.children.every((child) => child.present && child.size > 0 && child.children.length === 0));
      assert.equal(target.chainId, (await ok(...here, 'rootfs', 'unpack', reference)).trim());
      await fails([...here, 'images', 'inspect', 'absent', '--format', 'json'], /absent/);
    });

    it('what is not here is told in the tree of an image', async () => {
      const inspected = z.object({ target: node });
      const { target } = await json(inspected, 'images', 'inspect', reference);
      const layer = target.children.at(-1)?.digest ?? '';
      await ok(...here, 'delete', layer);
      const without = await json(inspected, 'images', 'inspect', reference);
      assert.deepEqual(
        without.target.children.map(({ present }) => present),
        [true, false],
      );
      const checked = z.array(z.object({ complete: z.boolean(), present: z.number() }));
      assert.deepEqual(await json(checked, 'images', 'check'), [{ complete: false, present: 2 }]);
    });

    it('content is listed', async () => {
      const blobs = await json(z.array(z.strictObject({ digest, size, labels, ...times })), 'content', 'ls');
      assert.equal(blobs.length, 3);
      assert.ok(blobs.every((blob) => blob.size > 0));
    });

    it('an ingest is listed', async () => {
      const short = await dist([...here, 'ingest', 'mine', '--expected-size', '10'], 'half');
      assert.equal(short.code, 1);
      const ingest = z.strictObject({
        ref: z.string(),
        offset: size,
        total: size,
        expected: z.string(),
        startedAt: z.iso.datetime(),
        updatedAt: z.iso.datetime(),
      });
      const [active] = await json(z.array(ingest), 'active');
      assert.deepEqual([active?.ref, active?.offset, active?.total], ['mine', 4, 10]);
      await ok(...here, 'content', 'abort', 'mine');
      assert.deepEqual(await json(z.array(ingest), 'active'), []);
    });

    it('mounts of a root filesystem are told', async () => {
      const top = (await ok(...here, 'rootfs', 'unpack', reference)).trim();
      const mounts = z.array(
        z.strictObject({ type: z.string(), source: z.string(), target: z.string(), options: z.array(z.string()) }),
      );
      const prepared = await json(mounts, 'rootfs', 'prepare', 'work', top);
      assert.equal(prepared[0]?.type, 'overlay');
      assert.deepEqual(await json(mounts, 'rootfs', 'mounts', 'work'), prepared);
      await ok(...here, 'rootfs', 'rm', 'work');
    });

    it('usage and what pruning gave back are told in bytes', async () => {
      const usage = z.strictObject({
        images: z.array(z.strictObject({ name: z.string(), content: size, unpacked: size, parts: size })),
        total: z.strictObject({ blobs: size, content: size, snapshots: size, snapshotBytes: size }),
      });
      const { images, total } = await json(usage, 'usage');
      assert.deepEqual([images[0]?.name, images[0]?.parts, total.blobs, total.snapshots], [reference, 3, 3, 1]);
      assert.equal(images[0]?.unpacked, total.snapshotBytes);
      const names = z.strictObject({ images: z.array(z.string()) });
      assert.deepEqual(await json(names, 'prune', '--all', '--dry-run'), { images: [reference] });
      assert.deepEqual(await json(names, 'prune', '--dry-run'), { images: [] });
      const freed = names.extend(usage.shape.total.shape);
      const nothing = { blobs: 0, content: 0, snapshots: 0, snapshotBytes: 0 };
      assert.deepEqual(await json(freed, 'prune'), { images: [], ...nothing });
      assert.deepEqual(await json(freed, 'prune', '--all'), { images: [reference], ...total });
      assert.deepEqual(await json(usage, 'usage'), { images: [], total: nothing });
    });
  });

  it('says what takes how much, and takes it back', async () => {
    const space = ['-n', 'space'];
    await ok(...space, 'pull', '--quiet', reference);
    await ok(...space, 'images', 'tag', reference, 'example.com/other:1');
    const numbers = z.object({ name: z.string(), content: z.number(), unpacked: z.number() });
    const { images, total } = parse(
      z.object({ images: z.array(numbers), total: z.object({ content: z.number(), snapshotBytes: z.number() }) }),
      await ok(...space, 'usage', '--format', 'json'),
    );
    assert.equal(images.length, 2);
    assert.equal(images[0]?.content, total.content);
    assert.ok((images[0]?.unpacked ?? 0) > 100_000);
    assert.match(await ok(...space, 'usage'), /^IMAGE +CONTENT +UNPACKED\n.*TOTAL/s);
    assert.equal(
      await ok(...space, 'prune', '--all', '--dry-run', 'name==example.com/other:1'),
      'example.com/other:1\n',
    );
    assert.match(await ok(...space, 'prune'), /^freed 0 B of content \(0 blobs\) and 0 B in 0 snapshots\n$/);
    assert.match(
      await ok(...space, 'prune', '--all'),
      /example\.com\/other:1\n(.*\n)*freed \d.*\(3 blobs\).* in 1 snapshots\n/,
    );
    assert.equal(await ok(...space, 'images', 'ls', '-q'), '');
    assert.equal(await ok(...space, 'content', 'ls', '-q'), '');
  });

  it('prepares root filesystems', async () => {
    const [layer = ''] = (await ok('pull', '--quiet', reference)).split('\n');
    assert.ok(layer);
    const top = (await ok('rootfs', 'unpack', reference)).trim();
    const mount = await ok('rootfs', 'prepare', 'work', top, '--target', '/mnt/a b');
    assert.match(mount, /^mount -t overlay overlay '\/mnt\/a b' -o /);
    assert.equal(await ok('rootfs', 'mounts', 'work', '--target', '/mnt/a b'), mount);
    await ok('rootfs', 'rm', 'work');
    await fails(['rootfs', 'mounts', 'work'], /work/);
  });
});
