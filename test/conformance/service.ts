/**
 * What every plugin that brings a gRPC service keeps: it starts in a kernel,
 * is reached through the server beside others, and refuses what it does not know.
 *
 *     serviceConformance({ describe, it }, subject)
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { connect } from '../../client/index.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { codeOf } from '../../kernel/errors.js';
import type { Plugin } from '../../kernel/plugin.js';
import type { ServiceDefinition, ServiceImplementation } from '../../lib/rpc/definition.js';
import { startTestKernel, type TestKernel } from '../harness/kernel.js';
import { scratch } from '../harness/scratch.js';
import { checkOf, type Runner, type Subject } from './runner.js';

export interface ServiceSubject extends Subject {
  readonly plugin: Plugin;
  /** The plugin's section of the configuration. */
  readonly config?: unknown;
  /** What it requires: values, or ids of plugins of the tree. The server is there anyway. */
  readonly beside?: readonly (Plugin | string)[];
}

const EMPTY = { encode: () => ({ finish: () => new Uint8Array(0) }), decode: (bytes: Uint8Array) => bytes };

/** The service with one method that it does not have. */
const withUnknownMethod = ({ fullName }: ServiceDefinition) => ({
  fullName,
  methods: {
    unknown: {
      name: 'KitAsksForWhatIsNotThere',
      requestType: EMPTY,
      requestStream: false,
      responseType: EMPTY,
      responseStream: false,
    },
  } as const,
});

interface Open {
  readonly kernel: TestKernel;
  readonly address: string;
  readonly service: ServiceImplementation;
  readonly definition: ServiceDefinition;
}

const CHECKS: Readonly<Record<string, (open: Open, subject: ServiceSubject) => Promise<void>>> = {
  'has a full name and methods of the form that protobuf gives them': async ({ definition }) => {
    assert.match(definition.fullName, /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.[A-Z]\w*$/);
    const methods = Object.values(definition.methods);
    assert.ok(methods.length > 0, 'a service without methods');
    for (const { name } of methods) assert.match(name, /^[A-Z]\w*$/);
    assert.equal(new Set(methods.map(({ name }) => name)).size, methods.length, 'two methods of one name');
  },

  'has a handler for each method': async ({ service, definition }) => {
    for (const key of Object.keys(definition.methods)) assert.equal(typeof service.handlers[key], 'function', key);
  },

  'answers over the socket; a method that it does not have is UNIMPLEMENTED': async ({ address, definition }) => {
    using client = connect({ address, namespace: 'kit' });
    const stub = client.service(withUnknownMethod(definition));
    await assert.rejects(stub.unknown(new Uint8Array(0), { timeout: 5000 }), { code: 'UNIMPLEMENTED' });
  },

  'survives a request that is not a message of its own': async ({ address, definition }) => {
    using client = connect({ address, namespace: 'kit' });
    const garbage = { encode: () => ({ finish: () => Buffer.from([0x0f, 0xff, 0xff]) }), decode: EMPTY.decode };
    for (const { name, responseStream } of Object.values(definition.methods).filter((it) => !it.requestStream)) {
      const method = { name, requestType: garbage, requestStream: false, responseType: EMPTY } as const;
      const stub = client.service({
        fullName: definition.fullName,
        methods: { call: { ...method, responseStream: true } },
      } as const);
      const call = async () =>
        Array.fromAsync(stub.call(new Uint8Array(0), { timeout: 2000 })).then(() => 'OK', codeOf);
      const code = await call();
      // a stream may go on: to some, those bytes are a request like another
      const wrong = ['UNAVAILABLE', 'UNIMPLEMENTED', ...(responseStream ? [] : ['DEADLINE_EXCEEDED'])];
      assert.ok(!wrong.includes(code), `${name}: ${code}`);
      assert.equal(await call(), code, `${name}, asked again`);
    }
    const stub = client.service(withUnknownMethod(definition));
    await assert.rejects(stub.unknown(new Uint8Array(0), { timeout: 5000 }), { code: 'UNIMPLEMENTED' });
  },

  'is named by introspection under its id': async ({ kernel }, { plugin }) => {
    const status = kernel.report.plugins().find(({ id }) => id === plugin.id);
    assert.deepEqual([status?.outcome, status?.wire], ['ok', plugin.wire]);
    assert.equal(plugin.wire.type, 'io.containerd.grpc.v1');
  },

  'refuses settings that it does not know': async (_open, { plugin, config }) => {
    const settings = { ...(typeof config === 'object' ? config : {}), 'what the kit made up': true };
    const { issues = [] } = await plugin.config['~standard'].validate(settings);
    assert.ok(issues.length > 0, 'a setting that nobody knows is taken');
  },

  'stops, and takes its service away': async ({ kernel, address, definition }) => {
    await kernel.stop();
    using client = connect({ address, namespace: 'kit' });
    const call = client.service(withUnknownMethod(definition)).unknown(new Uint8Array(0), { timeout: 3000 });
    await assert.rejects(call, { code: 'UNAVAILABLE' });
  },
};

export function serviceConformance(runner: Runner, subject: ServiceSubject): void {
  const { plugin, config = {}, beside = [] } = subject;
  runner.describe(`service ${subject.name}`, () => {
    for (const [title, check] of Object.entries(CHECKS)) {
      checkOf(runner, subject, title, async () => {
        await using directory = await scratch('service');
        const address = join(directory.path, 's');
        const kernel = await startTestKernel({
          plugins: [...beside, plugin, 'server-grpc'],
          config: { 'server-grpc': { address }, [plugin.id]: config },
          directory: directory.path,
        });
        try {
          const services = [kernel.get(GrpcServices).get(plugin.wire.id) ?? []].flat();
          assert.ok(services.length > 0, `no gRPC service under the id "${plugin.wire.id}"`);
          for (const service of services) {
            await check({ kernel, address, service, definition: service.definition }, subject);
          }
        } finally {
          await kernel.stop();
        }
      });
    }
  });
}
