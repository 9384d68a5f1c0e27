export { Client, type ConnectOptions, connect } from './client.js';
export type { CallOptions, PartialMessage, Stub } from './stub.js';
