/** Registries without the referrers API: who pushes a manifest with a subject keeps the list of its referrers (distribution spec, "Pushing Manifests with Subject"). */
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { digestOf } from '../../lib/digest.js';
import { OCI_INDEX } from '../../lib/oci/media-types.js';
import type { Referrer } from '../../lib/oci/referrers.js';
import type { PushSession } from './registry/push-session.js';
import { referrersTag } from './registry/referrers.js';

export async function addReferrer(session: PushSession, { subject, descriptor }: Referrer, signal: AbortSignal) {
  const listed = await session.taggedReferrers(subject, signal);
  if (listed.some(({ digest }) => digest === descriptor.digest)) return;
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...listed, descriptor] }),
  );
  const index: Descriptor = { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.length };
  await session.pushManifest(index, bytes, referrersTag(subject), signal);
}
