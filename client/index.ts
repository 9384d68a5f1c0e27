/** Typed client of containerd's API: drives our daemon and stock containerd alike. */

export { decodeEvent } from '../api/events.js';
export { Any } from '../api/gen/google/protobuf/any.js';
export type { Container } from '../api/gen/services/containers.js';
export type { Plugin } from '../api/gen/services/introspection.js';
export type { Descriptor } from '../api/gen/types/descriptor.js';
export type { Envelope } from '../api/gen/types/event.js';
export type { Mount } from '../api/gen/types/mount.js';
export { type Process, Status as TaskStatus } from '../api/gen/types/task.js';
export type { Progress } from '../api/gen/types/transfer.js';
export type { CallOptions, PartialMessage, ServerStream, Stub } from '../lib/rpc/stub.js';
export { type ExportRequest, exportImages, type ImportRequest, importImages } from './archive.js';
export { type Client, type ConnectOptions, connect } from './connect.js';
export { type PullRequest, type PushRequest, pullImage, pushImage } from './pull.js';
export { SERVICES } from './services.js';
export type { PullPlatform, RegistryCredentials } from './transfer.js';
