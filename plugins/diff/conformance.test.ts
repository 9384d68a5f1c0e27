import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Content } from '../../kernel/contracts/content.js';
import { Differs } from '../../kernel/contracts/diff.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../lib/oci/media-types.js';
import { differConformance } from '../../test/conformance/differ.js';
import { remoteDiffer } from '../../test/conformance/differ.remote.js';
import { readBlob } from '../../test/harness/blob.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { TestDiffer } from '../../test/harness/unpack.js';

const encodings = {
  [OCI_LAYER]: (archive: Buffer) => archive,
  [OCI_LAYER_GZIP]: (archive: Buffer) => gzipSync(archive, { level: 1 }),
  [OCI_LAYER_ZSTD]: (archive: Buffer) => zstdCompressSync(archive),
};
const subject = { unavailable: async () => undefined, encodings };
const plugins = ['content', 'events', 'metadata', 'diff'];
const scope = { namespace: 'kit' };

differConformance(
  { describe, it },
  {
    ...subject,
    name: 'diff',
    can: { compare: true, detach: true, explainRefusals: true, reproduce: true, clampTimes: true },
    async open() {
      const directory = await scratch('diff');
      mkdirSync(join(directory.path, 'm'));
      const { differ, content, pool } = new TestDiffer({}, join(directory.path, 'm'));
      return {
        differ,
        read: ({ digest }) => readBlob(content, scope, digest),
        async close() {
          await pool.close();
          await directory[Symbol.asyncDispose]();
        },
      };
    },
  },
);

differConformance(
  { describe, it },
  {
    ...subject,
    name: 'diff through a kernel',
    can: { compare: true, detach: true, explainRefusals: true, reproduce: true, clampTimes: true },
    async open() {
      const kernel = await startTestKernel({ plugins });
      const differ = kernel.get(Differs).get('walking');
      if (!differ) throw new Error('the plugin provides no differ');
      const read = ({ digest }: { readonly digest: string }) => readBlob(kernel.get(Content), scope, digest);
      return { differ, read, close: async () => kernel[Symbol.asyncDispose]() };
    },
  },
);

differConformance(
  { describe, it },
  {
    ...subject,
    name: 'diff over gRPC',
    can: { compare: true, detach: false, explainRefusals: true, reproduce: true, clampTimes: true },
    async open() {
      const directory = await scratch('diff');
      const address = join(directory.path, 's');
      const services = ['differs', 'diff-service', 'content-service', 'leases-service', 'namespaces-service'];
      const kernel = await startTestKernel({
        plugins: [...plugins, ...services, 'server-grpc'],
        config: { 'server-grpc': { address } },
        directory: directory.path,
      });
      const { close, ...opened } = await remoteDiffer({ address, namespace: 'kit' });
      return {
        ...opened,
        async close() {
          await close();
          await kernel.stop();
          await directory[Symbol.asyncDispose]();
        },
      };
    },
  },
);
