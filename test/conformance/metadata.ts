/**
 * What the services of namespaced records keep: the promises of the contracts
 * Namespaces, Images, Containers, Sandboxes, Leases, Content, Snapshots and
 * GarbageCollector.
 *
 *     metadataConformance({ describe, it }, subject)
 */
import { scratch } from '../harness/scratch.js';
import { collectionChecks } from './metadata.collection.js';
import { containerChecks } from './metadata.containers.js';
import { contentChecks } from './metadata.content.js';
import { imageChecks } from './metadata.images.js';
import { issueChecks } from './metadata.issues.js';
import { leaseChecks } from './metadata.leases.js';
import { namespaceChecks } from './metadata.namespaces.js';
import { sandboxChecks } from './metadata.sandboxes.js';
import { snapshotChecks } from './metadata.snapshots.js';
import { MetadataBench, type MetadataSubject } from './metadata.workbench.js';
import { checkOf, type Runner } from './runner.js';

export type { MetadataOptions, MetadataServices, MetadataSubject, OpenMetadata } from './metadata.workbench.js';

/** A check gets services that hold nothing yet; a title that begins with "isolated" gets that sharing policy. */
export type Checks = Readonly<Record<string, (bench: MetadataBench) => Promise<void>>>;

const GROUPS: Readonly<Record<string, Checks>> = {
  namespaces: namespaceChecks,
  images: imageChecks,
  containers: containerChecks,
  sandboxes: sandboxChecks,
  leases: leaseChecks,
  content: contentChecks,
  snapshots: snapshotChecks,
  collection: collectionChecks,
  'historic bugs': issueChecks,
};

export function metadataConformance(runner: Runner, subject: MetadataSubject): void {
  runner.describe(`metadata ${subject.name}`, () => {
    for (const [group, checks] of Object.entries(GROUPS)) {
      if (group === 'sandboxes' && !subject.can.keepSandboxes) continue;
      runner.describe(group, () => {
        for (const [title, check] of Object.entries(checks)) {
          const sharing = title.startsWith('isolated') ? 'isolated' : 'shared';
          if (sharing === 'isolated' && !subject.can.isolate) continue;
          checkOf(runner, subject, title, async () => {
            await using directory = await scratch('metadata');
            const bench = await MetadataBench.open(subject, directory.path, { sharing });
            try {
              await check(bench);
            } finally {
              await bench.close();
            }
          });
        }
      });
    }
  });
}
