import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../digest.js';
import { chainIds } from './chain-id.js';
import { parseConfig, parseManifest } from './documents.js';
import { DOCKER_LIST, DOCKER_MANIFEST, ingestRef, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from './media-types.js';

const DIGEST = digestOf(new Uint8Array([1]));
const descriptor = { mediaType: OCI_CONFIG, digest: DIGEST, size: 3 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 4 };
const manifest = { schemaVersion: 2, config: descriptor, layers: [layer] };
const index = { schemaVersion: 2, manifests: [{ ...descriptor, mediaType: OCI_MANIFEST }] };

const parse = (mediaType: string, document: unknown) =>
  parseManifest(
    { mediaType, digest: DIGEST },
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
  );

function refused(run: () => unknown): void {
  assert.throws(run, (error) => {
    assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
    assert.ok(error instanceof Error && error.message.length < 600);
    return true;
  });
  assert.equal(Object.keys(Object.prototype).length, 0);
}

describe('manifests and indexes', () => {
  it('reads every kind', () => {
    for (const type of [OCI_MANIFEST, DOCKER_MANIFEST]) {
      assert.deepEqual(parse(type, { ...manifest, mediaType: type }), { config: descriptor, layers: [layer] });
      assert.deepEqual(parse(type, manifest), { config: descriptor, layers: [layer] });
    }
    for (const type of [OCI_INDEX, DOCKER_LIST]) {
      assert.deepEqual(parse(type, { ...index, mediaType: type }), { manifests: index.manifests });
    }
  });

  it('keeps annotations and platforms, whatever their names', () => {
    const text = `{"schemaVersion":2,"manifests":[{"mediaType":"${OCI_MANIFEST}","digest":"${DIGEST}","size":3,
      "platform":{"os":"linux","architecture":"arm","variant":"v7","os.version":"1"},"urls":null,
      "annotations":{"__proto__":"p","constructor":"c","a":"b"}}]}`;
    const parsed = parse(OCI_INDEX, text);
    assert.ok('manifests' in parsed);
    const [entry] = parsed.manifests;
    assert.deepEqual(entry?.platform, { os: 'linux', architecture: 'arm', variant: 'v7', osVersion: '1' });
    assert.deepEqual(Object.entries(entry?.annotations ?? {}), [
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['a', 'b'],
    ]);
    assert.equal(entry?.urls, undefined);
  });

  it('uses the last of duplicate keys, as Go does', () => {
    const parsed = parse(
      OCI_MANIFEST,
      `{"schemaVersion":2,"config":1,"layers":[],"config":${JSON.stringify(descriptor)}}`,
    );
    assert.ok('config' in parsed && parsed.config.digest === DIGEST);
  });

  const mixed = { ...manifest, manifests: index.manifests };
  for (const [own, other] of [
    [OCI_MANIFEST, OCI_INDEX],
    [DOCKER_MANIFEST, DOCKER_LIST],
    [OCI_INDEX, OCI_MANIFEST],
    [DOCKER_LIST, DOCKER_MANIFEST],
  ] as const) {
    it(`refuses a document that could be ${own} and ${other}`, () => {
      refused(() => parse(own, mixed));
      refused(() => parse(own, { ...(own.includes('manifest.v') ? manifest : index), mediaType: other }));
    });
  }

  const bad: [string, string, unknown][] = [
    ['empty', OCI_MANIFEST, ''],
    ['an array', OCI_MANIFEST, []],
    ['null', OCI_MANIFEST, 'null'],
    ['broken JSON', OCI_MANIFEST, '{"schemaVersion":2'],
    ['no schemaVersion', OCI_MANIFEST, { config: descriptor, layers: [] }],
    ['schemaVersion 1', OCI_MANIFEST, { ...manifest, schemaVersion: 1 }],
    ['fsLayers', OCI_MANIFEST, { ...manifest, fsLayers: [] }],
    ['an index with a config', OCI_INDEX, { ...index, config: descriptor }],
    ['Layers in another case', OCI_INDEX, { ...index, Layers: [] }],
    ['Manifests in another case', OCI_MANIFEST, { ...manifest, MANIFESTS: [] }],
    ['Docker schema 1', 'application/vnd.docker.distribution.manifest.v1+prettyjws', {}],
    ['an unknown type', 'application/octet-stream', manifest],
    ['no layers', OCI_MANIFEST, { schemaVersion: 2, config: descriptor }],
    ['no config', OCI_MANIFEST, { schemaVersion: 2, layers: [] }],
    ['size -1', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, size: -1 }] }],
    ['size 2^63', OCI_MANIFEST, JSON.stringify(manifest).replace('"size":4', '"size":9223372036854775808')],
    ['size 2^53', OCI_MANIFEST, JSON.stringify(manifest).replace('"size":4', '"size":9007199254740993')],
    ['size 1e400', OCI_MANIFEST, JSON.stringify(manifest).replace('"size":4', '"size":1e400')],
    ['size 1.5', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, size: 1.5 }] }],
    ['size "5"', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, size: '5' }] }],
    ['size missing', OCI_MANIFEST, { ...manifest, layers: [{ mediaType: layer.mediaType, digest: DIGEST }] }],
    ['digest with dots', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, digest: 'sha256:../../x' }] }],
    ['digest in upper case', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, digest: DIGEST.toUpperCase() }] }],
    ['digest empty', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, digest: '' }] }],
    ['a media type with a line break', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, mediaType: 'a/b\r\nc: d' }] }],
    ['a media type of its own that is no text', OCI_MANIFEST, { ...manifest, mediaType: { toString: {} } }],
    ['a numeric annotation', OCI_MANIFEST, { ...manifest, layers: [{ ...layer, annotations: { a: 1 } }] }],
    ['10^5 layers', OCI_MANIFEST, { ...manifest, layers: Array.from({ length: 100_000 }, () => layer) }],
    ['10^5 manifests', OCI_INDEX, { ...index, manifests: Array.from({ length: 100_000 }, () => descriptor) }],
    ['deep nesting', OCI_MANIFEST, `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    [
      'deep nesting inside',
      OCI_MANIFEST,
      `{"schemaVersion":2,"layers":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_001)}`,
    ],
    ['a polluting key', OCI_MANIFEST, '{"__proto__":{"schemaVersion":2,"layers":[]},"constructor":{}}'],
  ];
  for (const [name, type, document] of bad) it(`refuses ${name}`, () => refused(() => parse(type, document)));

  it('refuses text that is not UTF-8', () => {
    refused(() => parseManifest({ mediaType: OCI_MANIFEST, digest: DIGEST }, Buffer.from([0x7b, 0xff, 0x7d])));
  });

  it('any JSON is either refused or has exact sizes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(OCI_MANIFEST, OCI_INDEX),
        fc.dictionary(
          fc.constantFrom('schemaVersion', 'config', 'layers', 'manifests', 'mediaType', '__proto__', 'x'),
          fc.oneof(
            fc.json().map((text): unknown => JSON.parse(text)),
            fc.constant(2),
            fc.constant(descriptor),
            fc.constant([layer]),
          ),
        ),
        (type, document) => {
          try {
            const parsed = parse(type, document);
            const children = 'manifests' in parsed ? parsed.manifests : [parsed.config, ...parsed.layers];
            return children.every(({ size }) => Number.isSafeInteger(size) && size >= 0);
          } catch (error) {
            return hasCode(error, 'INVALID_ARGUMENT');
          }
        },
      ),
      { numRuns: 50_000 },
    );
  });
});

describe('configurations', () => {
  const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [DIGEST] } };
  const read = (document: unknown) =>
    parseConfig({ mediaType: OCI_CONFIG, digest: DIGEST }, Buffer.from(JSON.stringify(document)));

  it('reads what unpacking needs', () => {
    assert.deepEqual(read(config), { os: 'linux', architecture: 'amd64', variant: undefined, diffIds: [DIGEST] });
    assert.deepEqual(read({ ...config, rootfs: { type: 'layers', diff_ids: null } }).diffIds, []);
  });
  it('refuses what it cannot trust', () => {
    refused(() => read({}));
    refused(() => read({ ...config, rootfs: { type: 'other', diff_ids: [] } }));
    refused(() => read({ ...config, rootfs: { type: 'layers', diff_ids: ['sha256:../x'] } }));
    refused(() => read({ ...config, os: 5 }));
  });
});

describe('names of things', () => {
  it('computes chain IDs', () => {
    assert.deepEqual(chainIds([]), []);
    const [a = '', b = ''] = [digestOf(new Uint8Array([1])), digestOf(new Uint8Array([2]))];
    assert.deepEqual(chainIds([a, b]), [a, digestOf(Buffer.from(`${a} ${b}`))]);
  });
  it('names ingests as containerd does', () => {
    assert.equal(ingestRef({ mediaType: OCI_INDEX, digest: 'd' }), 'index-d');
    assert.equal(ingestRef({ mediaType: DOCKER_MANIFEST, digest: 'd' }), 'manifest-d');
    assert.equal(ingestRef(layer), `layer-${DIGEST}`);
    assert.equal(ingestRef({ mediaType: OCI_CONFIG, digest: 'd' }), 'config-d');
    assert.equal(ingestRef({ mediaType: 'application/x', digest: 'd' }), 'unknown-d');
  });
});
