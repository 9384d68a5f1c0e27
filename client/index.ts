/** Typed client of containerd's API: drives our daemon and stock containerd alike. */

export { decodeEvent } from '../api/events.js';
export type { Container } from '../api/gen/services/containers.js';
export type { Plugin } from '../api/gen/services/introspection.js';
export type { Descriptor } from '../api/gen/types/descriptor.js';
export type { Envelope } from '../api/gen/types/event.js';
export type { Mount } from '../api/gen/types/mount.js';
export { type Process, Status as TaskStatus } from '../api/gen/types/task.js';
export type { Progress } from '../api/gen/types/transfer.js';
export { type Client, type ConnectOptions, connect } from './connect.js';
export { type PullPlatform, type PullRequest, pullImage, type RegistryCredentials } from './pull.js';
export { SERVICES } from './services.js';
export type { CallOptions, PartialMessage, ServerStream, Stub } from './stub.js';
