/** Typed client of containerd's API: drives our daemon and stock containerd alike. */
export { type Client, type ConnectOptions, connect } from './connect.js';
export { SERVICES } from './services.js';
export type { CallOptions, PartialMessage, ServerStream, Stub } from './stub.js';
