import { GrpcServices } from 'keelson/contracts/grpc';
import { invalidArgument } from 'keelson/errors';
import { definePlugin } from 'keelson/plugin';
import { implement, type MessageCodec, type ServiceDefinition } from 'keelson/rpc';
import { z } from 'zod';

/** A message of one string field with number 1, shorter than 128 bytes: `message Name { string text = 1; }`. */
const text: MessageCodec<string> = {
  encode: (value) => ({
    finish: () => Buffer.concat([Buffer.from([0x0a, Buffer.byteLength(value)]), Buffer.from(value)]),
  }),
  decode: (bytes) => Buffer.from(bytes).subarray(2).toString(),
};

/** What a .proto file says, as data; generated code has the same shape. */
export const GreeterDefinition = {
  fullName: 'example.greeter.v1.Greeter',
  methods: {
    greet: { name: 'Greet', requestType: text, requestStream: false, responseType: text, responseStream: false },
  },
} as const satisfies ServiceDefinition;

/** Greets who calls, by the namespace of the call. */
export const plugin = definePlugin({
  id: 'service-greeter',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'greeter' },
  config: z.object({ greeting: z.string().default('Hello').describe('What to say.') }).strict(),
  requires: {},
  provides: { service: GrpcServices },
  start: async ({ config }) => ({
    service: implement(GreeterDefinition, {
      async greet(name, call) {
        if (name === '') throw invalidArgument('greeting nobody', { remedy: 'say who is to be greeted' });
        return `${config.greeting}, ${name} of ${call.scope().namespace}`;
      },
    }),
  }),
});
