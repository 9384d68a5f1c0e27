import type { BlobReader } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';

interface Readable {
  reader(scope: Scope, digest: string): Promise<BlobReader>;
}

/** The bytes of a blob, which must fit into memory. */
export async function readBlob(content: Readable, scope: Scope, digest: string): Promise<Buffer> {
  const reader = await content.reader(scope, digest);
  try {
    const bytes = Buffer.alloc(reader.size);
    return bytes.subarray(0, await reader.read(bytes, 0));
  } finally {
    await reader.close();
  }
}
