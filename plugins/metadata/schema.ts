import type { Schema } from '../../lib/sqlite/database.js';

/** Since version 2. */
const SANDBOXES = `
CREATE TABLE sandboxes (
  ns TEXT NOT NULL,
  id TEXT NOT NULL,
  labels TEXT NOT NULL,
  runtime TEXT NOT NULL,
  options_type TEXT,
  options BLOB,
  spec_type TEXT,
  spec BLOB,
  extensions TEXT NOT NULL,
  sandboxer TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (ns, id)
) STRICT;
`;

/**
 * The tables. `ns` is a namespace; times are nanoseconds since the Unix epoch;
 * labels and annotations are JSON objects of strings.
 *
 * Backend names (`backend_ref`, `backend_key`) are `namespace/sequence/name`,
 * so that one backend serves all namespaces; a sequence number is never used
 * twice. What nobody refers to any more waits in an `orphan_` table, written in
 * the transaction that removed the last record, until its bytes are gone.
 */
export const SCHEMA: Schema = {
  applicationId: 0x4b45_454c,
  version: 2,
  upgrades: { 1: SANDBOXES },
  create: `
CREATE TABLE sequence (next INTEGER NOT NULL) STRICT;
INSERT INTO sequence VALUES (1);

CREATE TABLE namespaces (name TEXT PRIMARY KEY, labels TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE images (
  ns TEXT NOT NULL,
  name TEXT NOT NULL,
  labels TEXT NOT NULL,
  media_type TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  annotations TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (ns, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE containers (
  ns TEXT NOT NULL,
  id TEXT NOT NULL,
  labels TEXT NOT NULL,
  image TEXT NOT NULL,
  runtime TEXT NOT NULL,
  options_type TEXT,
  options BLOB,
  spec_type TEXT NOT NULL,
  spec BLOB NOT NULL,
  snapshotter TEXT NOT NULL,
  snapshot_key TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  extensions TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  PRIMARY KEY (ns, id)
) STRICT;

${SANDBOXES}
CREATE TABLE content (
  ns TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (ns, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_digest ON content (digest);

-- expires is null for an ingest that a lease holds
CREATE TABLE ingests (
  ns TEXT NOT NULL,
  ref TEXT NOT NULL,
  backend_ref TEXT NOT NULL,
  expected TEXT NOT NULL,
  expires INTEGER,
  created INTEGER NOT NULL,
  PRIMARY KEY (ns, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingests_expected ON ingests (expected) WHERE expected <> '';
CREATE UNIQUE INDEX ingests_backend ON ingests (backend_ref);

CREATE TABLE snapshots (
  ns TEXT NOT NULL,
  snapshotter TEXT NOT NULL,
  key TEXT NOT NULL,
  backend_key TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  parent TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (ns, snapshotter, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_parent ON snapshots (ns, snapshotter, parent) WHERE parent <> '';
CREATE INDEX snapshots_backend ON snapshots (snapshotter, backend_key);

CREATE TABLE leases (
  ns TEXT NOT NULL,
  id TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (ns, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease_resources (
  ns TEXT NOT NULL,
  lease TEXT NOT NULL,
  type TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (ns, lease, type, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE orphan_content (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE orphan_ingests (backend_ref TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE orphan_snapshots (
  snapshotter TEXT NOT NULL,
  backend_key TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  PRIMARY KEY (snapshotter, backend_key)
) STRICT, WITHOUT ROWID;
`,
};
