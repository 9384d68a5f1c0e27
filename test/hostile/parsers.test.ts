/**
 * Parsers of what others write, each fed 50,000 texts that are valid, nearly
 * valid and not at all: they answer or refuse with INVALID_ARGUMENT, never with
 * anything else, and what they answer is safe to use. FUZZ_SEED replays a run.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../kernel/errors.js';
import { isDigest } from '../../lib/digest.js';
import { parseDockerConfig, registryKey } from '../../lib/docker-config/config.js';
import { compileFilters } from '../../lib/filters/filters.js';
import { parseConfig, parseManifest } from '../../lib/oci/documents.js';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { completeReference, formatReference, parseReference } from '../../lib/reference/reference.js';
import { parseChallenges } from '../../plugins/distribution/registry/challenge.js';
import { parseHostsFile } from '../../plugins/distribution/registry/hosts-toml.js';

const RUNS = { numRuns: 50_000, seed: Number(process.env.FUZZ_SEED ?? 20_261_124) };

/** Tokens of a grammar in any order, with noise between them. */
const tokens = (...words: readonly string[]): fc.Arbitrary<string> =>
  fc
    .array(
      fc.oneof(
        { weight: 12, arbitrary: fc.constantFrom(...words) },
        { weight: 1, arbitrary: fc.string({ maxLength: 3 }) },
      ),
      {
        maxLength: 24,
      },
    )
    .map((parts) => parts.join(''));

/** A valid text with a few places changed, doubled, cut or swapped. */
const mutated = (text: string): fc.Arbitrary<string> =>
  fc
    .array(
      fc.record({
        at: fc.nat({ max: text.length }),
        length: fc.nat({ max: 8 }),
        by: fc.oneof(
          fc.string({ maxLength: 4 }),
          fc.constantFrom('"', '\\', '{', ']', '\u0000', '\ud800', '-1', '1e999', 'null'),
        ),
      }),
      { maxLength: 4 },
    )
    .map((edits) => edits.reduce((now, { at, length, by }) => now.slice(0, at) + by + now.slice(at + length), text));

/** What the parser answers; undefined when it refuses as it should. */
function answer<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (hasCode(error, 'INVALID_ARGUMENT')) return undefined;
    throw error;
  }
}

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;

/** Accepted and refused, so that no generator only makes one kind. */
function fuzz<T>(text: fc.Arbitrary<T>, parse: (text: T) => unknown): void {
  let accepted = 0;
  let refused = 0;
  fc.assert(
    fc.property(text, (candidate) => {
      if (answer(() => parse(candidate)) === undefined) refused++;
      else accepted++;
    }),
    RUNS,
  );
  assert.ok(accepted > 100 && refused > 100, `${accepted} accepted, ${refused} refused`);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
}

describe('50,000 texts each for', () => {
  it('references: what is accepted comes out as it went in, and names one host and one path', () => {
    const words = [
      'docker.io',
      'localhost',
      '127.0.0.1',
      '[::1]',
      ':5000',
      '/',
      'library',
      'a',
      'a__b',
      'x-y',
      ':',
      'latest',
      '@',
      DIGEST,
      '..',
      '.',
      'A',
      '%2f',
      '?',
      '#',
    ];
    fuzz(fc.oneof(tokens(...words), mutated(`registry.example:5000/team/app:v1@${DIGEST}`)), (text) => {
      const reference = parseReference(text);
      assert.equal(formatReference(reference), text);
      const url = new URL(`https://${reference.host}/v2/${reference.repository}/x`);
      assert.equal(url.pathname, `/v2/${reference.repository}/x`);
      assert.equal(url.username + url.search + url.hash, '');
      return reference;
    });
  });

  it('references as people type them: completing twice changes nothing', () => {
    const words = [
      'redis',
      'docker.io',
      'index.docker.io',
      'quay.io',
      ':5000',
      '/',
      'library',
      'a',
      ':',
      'latest',
      '@',
      DIGEST,
      'A',
    ];
    fuzz(tokens(...words), (text) => {
      const full = formatReference(completeReference(text));
      assert.equal(formatReference(completeReference(full)), full);
      assert.equal(formatReference(parseReference(full)), full);
      return full;
    });
  });

  it('WWW-Authenticate: a well-formed header is read exactly, any other is survived', () => {
    const value = fc.string({ maxLength: 20 }).map((text) => text.replace(/\p{Cc}/gu, ''));
    const key = fc.constantFrom('realm', 'service', 'scope', 'error', 'x-1');
    const parameters = fc.dictionary(key, value, { maxKeys: 4, noNullPrototype: true });
    fc.assert(
      fc.property(fc.constantFrom('Bearer', 'BASIC', 'Digest'), parameters, (scheme, wanted) => {
        const quoted = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&')}"`;
        const pairs = Object.entries(wanted).map(([name, text]) => `${name}=${quoted(text)}`);
        const [challenge] = parseChallenges([`${scheme} ${pairs.join(', ')}`]);
        assert.equal(challenge?.scheme, scheme.toLowerCase());
        assert.deepEqual(Object.fromEntries(challenge?.parameters ?? []), wanted);
      }),
      RUNS,
    );
    const words = ['Bearer', 'Basic', ' ', ',', '=', '"', '\\', 'realm', 'https://x/', '\t', '=='];
    fc.assert(
      fc.property(fc.oneof(tokens(...words), fc.string()), (line) => {
        for (const { scheme } of parseChallenges([line, line])) assert.match(scheme, /^[^\s",=]+$/);
      }),
      RUNS,
    );
  });

  it('hosts.toml', () => {
    const valid = `server = "https://registry.example"\n[host."https://mirror.example/v2"]\ncapabilities = ["pull", "resolve"]\nca = ["a.crt"]\nskip_verify = true\ndial_timeout = "5s"\n[host."https://mirror.example/v2".header]\nx = ["y"]\n`;
    const words = [
      'server',
      ' = ',
      '"x"',
      '\n',
      '[host."',
      '"]',
      'capabilities',
      '["pull"]',
      'true',
      '__proto__',
      '{',
      '}',
      '5',
      '.',
      '#',
    ];
    fuzz(fc.oneof(mutated(valid), tokens(...words)), (text) => {
      const file = parseHostsFile('/f/hosts.toml', text);
      for (const table of [file, ...Object.values(file.host ?? {})]) {
        for (const capability of table.capabilities ?? []) assert.match(capability, /^(pull|resolve|push|referrers)$/);
      }
      return file;
    });
  });

  it("Docker's config.json, which no error quotes", () => {
    const secret = Buffer.from('me:canary-31').toString('base64');
    const valid = JSON.stringify({
      auths: { 'https://index.docker.io/v1/': { auth: secret }, 'quay.io': { username: 'a', password: 'canary-31' } },
      credsStore: 'desktop',
      credHelpers: { 'gcr.io': 'gcloud' },
    });
    const words = [
      '{',
      '}',
      '"auths"',
      ':',
      '"x.io"',
      '"auth"',
      `"${secret}"`,
      ',',
      'null',
      '"__proto__"',
      '[',
      ']',
      '"credHelpers"',
      '"credsStore"',
    ];
    fuzz(fc.oneof(mutated(valid), tokens(...words)), (text) => {
      try {
        const { logins, helpers } = parseDockerConfig('/f/config.json', text);
        for (const key of [...logins.keys(), ...helpers.keys()]) assert.equal(registryKey(key), key);
        return logins;
      } catch (error) {
        assert.ok(error instanceof Error && !error.message.includes('canary-31') && !error.message.includes(secret));
        throw error;
      }
    });
  });

  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 5 };
  const config = { mediaType: OCI_CONFIG, digest: DIGEST, size: 7 };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer, layer] });
  const entry = { mediaType: OCI_MANIFEST, digest: DIGEST, size: 9, platform: { os: 'linux', architecture: 'amd64' } };
  const index = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry], annotations: { a: 'b' } });
  const json = [
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"schemaVersion":2',
    '"layers"',
    '"manifests"',
    '"config"',
    '"__proto__":{"polluted":1}',
    `"digest":"${DIGEST}"`,
    '"size":5',
    '"size":-1',
    '"size":1e300',
    '"mediaType":"a/b"',
  ];

  const checkDescriptor = ({ digest, size }: { digest: string; size: number }): void => {
    assert.ok(isDigest(digest) && Number.isSafeInteger(size) && size >= 0);
  };

  it('manifests and indexes', () => {
    const document = fc.oneof(
      { weight: 3, arbitrary: mutated(manifest).map((text) => [OCI_MANIFEST, text] as const) },
      { weight: 3, arbitrary: mutated(index).map((text) => [OCI_INDEX, text] as const) },
      tokens(...json).map((text) => [OCI_MANIFEST, text] as const),
    );
    fuzz(document, ([mediaType, text]) => {
      const parsed = parseManifest({ mediaType, digest: DIGEST }, Buffer.from(text));
      const parts = 'manifests' in parsed ? parsed.manifests : [parsed.config, ...parsed.layers];
      for (const part of parts) checkDescriptor(part);
      return parsed;
    });
  });

  it('configurations', () => {
    const valid = JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [DIGEST] },
    });
    fuzz(fc.oneof({ weight: 3, arbitrary: mutated(valid) }, tokens(...json)), (text) => {
      const parsed = parseConfig({ mediaType: OCI_CONFIG, digest: DIGEST }, Buffer.from(text));
      assert.ok(parsed.diffIds.every(isDigest));
      return parsed;
    });
  });

  it('filters, and what they do with any object', () => {
    const words = [
      'name',
      '.',
      'labels',
      '"a b"',
      '==',
      '!=',
      '~=',
      '/a+/',
      '|(b|c)*|',
      ',',
      '"',
      '\\',
      'x',
      '^',
      '(',
      ')+',
      '=',
      '~',
    ];
    const fields = { name: 'x', labels: 'aab' };
    fuzz(fc.oneof(tokens(...words), mutated('name==x,labels."a b"~=/^a+$/')), (text) => {
      const filter = compileFilters([text]);
      assert.equal(typeof filter(([first = '']) => Reflect.get(fields, first)), 'boolean');
      return filter;
    });
  });
});
