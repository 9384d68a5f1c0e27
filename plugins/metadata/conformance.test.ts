import { describe, it } from 'node:test';
import { metadataConformance } from '../../test/conformance/metadata.js';
import { openMetadataBench } from '../../test/harness/metadata-bench.js';

metadataConformance(
  { describe, it },
  {
    name: 'metadata',
    unavailable: async () => undefined,
    open: (root, { sharing }) => openMetadataBench(root, { sharing }),
  },
);
