import type { Manifest } from '../kernel/discover.js';

/**
 * The plugins of the tree: configuration key -> lazy import. Listed here they
 * are merely findable; whether one runs is the configuration's business.
 * Adding a plugin: one line, in alphabetical order.
 */
export const builtins = {
  'api-classic': () => import('../plugins/api-classic/index.js'),
  'containers-service': () => import('../plugins/containers/service.js'),
  content: () => import('../plugins/content/index.js'),
  'content-service': () => import('../plugins/content/service.js'),
  control: () => import('../plugins/control/index.js'),
  'credentials-docker': () => import('../plugins/credentials-docker/index.js'),
  diff: () => import('../plugins/diff/index.js'),
  'diff-service': () => import('../plugins/diff/service.js'),
  differs: () => import('../plugins/differs/index.js'),
  distribution: () => import('../plugins/distribution/index.js'),
  events: () => import('../plugins/events/index.js'),
  'events-service': () => import('../plugins/events/service.js'),
  health: () => import('../plugins/health/index.js'),
  'images-service': () => import('../plugins/images/service.js'),
  introspection: () => import('../plugins/introspection/index.js'),
  'leases-service': () => import('../plugins/leases/service.js'),
  metadata: () => import('../plugins/metadata/index.js'),
  'namespaces-service': () => import('../plugins/namespaces/service.js'),
  'runtime-runc': () => import('../plugins/runtime-runc/index.js'),
  'runtime-shim': () => import('../plugins/runtime-shim/index.js'),
  'sandbox-controllers-service': () => import('../plugins/sandbox-controllers/service.js'),
  'sandboxes-service': () => import('../plugins/sandboxes/service.js'),
  'server-grpc': () => import('../plugins/server-grpc/index.js'),
  'server-ttrpc': () => import('../plugins/server-ttrpc/index.js'),
  'snapshot-btrfs': () => import('../plugins/snapshot-btrfs/index.js'),
  'snapshot-overlay': () => import('../plugins/snapshot-overlay/index.js'),
  'snapshot-vfs': () => import('../plugins/snapshot-vfs/index.js'),
  'snapshots-service': () => import('../plugins/snapshots/service.js'),
  streaming: () => import('../plugins/streaming/index.js'),
  'streaming-service': () => import('../plugins/streaming/service.js'),
  tasks: () => import('../plugins/tasks/index.js'),
  'tasks-service': () => import('../plugins/tasks/service.js'),
  transfer: () => import('../plugins/transfer/index.js'),
  'verifier-bindir': () => import('../plugins/verifier-bindir/index.js'),
  version: () => import('../plugins/version/index.js'),
} satisfies Manifest;

/** What plugins for processes outside are made of; see `proxies.ts`. */
export const proxies = () => import('../plugins/proxy/index.js');
