/** What the checks of the daemon kit work with: a client in a namespace of its own. */
import assert from 'node:assert/strict';
import type { Client } from '../../client/index.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import type { Subject } from './runner.js';

export interface DaemonSubject extends Subject {
  /** Path of its socket. */
  address(): string;
  /** Wire id of a snapshotter that it has. */
  readonly snapshotter: string;
  readonly can: {
    /** Calls of a namespace that is no identifier are INVALID_ARGUMENT; false: any refusal. */
    readonly explainNamespaces: boolean;
    /** A stream that runs out of time is DEADLINE_EXCEEDED, also when the daemon sees it first; false: any refusal. */
    readonly explainDeadlines: boolean;
    /** Introspection tells of plugins which types they require. */
    readonly tellRequirements: boolean;
  };
}

export interface Bench {
  readonly client: Client;
  readonly address: string;
  readonly namespace: string;
}

export const rejects = (code: ErrorCode, work: Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

export type Check = (bench: Bench, subject: DaemonSubject) => Promise<void>;

export const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') };

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
