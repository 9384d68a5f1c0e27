import { describe, it } from 'node:test';
import { throughGrpc, throughKernel } from '../../test/conformance/metadata.doors.js';
import { metadataConformance } from '../../test/conformance/metadata.js';
import { openMetadataBench } from '../../test/harness/metadata-bench.js';

const unavailable = async () => undefined;
const can = {
  truncateAnywhere: true,
  measureCollections: true,
  collectAtOnce: true,
  keepSandboxes: true,
  isolate: true,
};

metadataConformance(
  { describe, it },
  { name: 'metadata', unavailable, can, open: (root, { sharing }) => openMetadataBench(root, { sharing }) },
);

metadataConformance({ describe, it }, { name: 'metadata through a kernel', unavailable, can, open: throughKernel });

metadataConformance(
  { describe, it },
  {
    name: 'metadata over gRPC',
    unavailable,
    can: {
      truncateAnywhere: false,
      measureCollections: false,
      collectAtOnce: false,
      keepSandboxes: true,
      isolate: true,
    },
    open: throughGrpc,
  },
);
