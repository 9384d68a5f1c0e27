import type { ImageVerifier } from '../../kernel/contracts/image-verifiers.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { permissionDenied } from '../../kernel/errors.js';

/** PERMISSION_DENIED when a verifier says no; whatever a verifier throws that cannot decide. */
export async function verifyImage(
  verifiers: ReadonlyMap<string, ImageVerifier>,
  name: string,
  { mediaType, digest, size }: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  for (const id of [...verifiers.keys()].sort()) {
    const judgement = await verifiers.get(id)?.verify({ name, target: { mediaType, digest, size }, signal });
    if (!judgement || judgement.accepted) continue;
    throw permissionDenied(
      `image verifier "${id}" blocked pull of "${name}" with digest "${digest}": ${judgement.reason}`,
    );
  }
}
