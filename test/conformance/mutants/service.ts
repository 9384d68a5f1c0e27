/** Plugins with a gRPC service of which one behaviour is broken each: the health service, with something of it changed. */
import { z } from 'zod';
import { GrpcServices } from '../../../kernel/contracts/grpc.js';
import { internal, invalidArgument, unavailable } from '../../../kernel/errors.js';
import { definePlugin, type Plugin } from '../../../kernel/plugin.js';
import type { MethodDefinition, ServiceDefinition, ServiceImplementation } from '../../../lib/rpc/definition.js';
import { healthService } from '../../../plugins/health/health.js';
import { plugin } from '../../../plugins/health/index.js';
import type { ServiceSubject } from '../service.js';
import type { Mutant } from './mutant.js';

export const soundService: ServiceSubject = { name: 'health', unavailable: async () => undefined, plugin };

type Services = ServiceImplementation | readonly ServiceImplementation[];

interface Change {
  readonly service?: (sound: ServiceImplementation) => Services;
  readonly wire?: Plugin['wire'];
  readonly config?: Plugin['config'];
  readonly release?: () => void;
}

const changed = ({ service = (sound) => sound, wire = plugin.wire, config, release }: Change): Plugin =>
  definePlugin({
    id: plugin.id,
    api: 1,
    wire,
    config: config ?? plugin.config,
    requires: {},
    provides: { service: GrpcServices },
    async start({ onStop }) {
      if (release !== undefined) onStop(release);
      return { service: service(healthService()) };
    },
  });

const mutant = (title: string, caughtBy: RegExp, change: Change): Mutant<ServiceSubject> => ({
  title,
  caughtBy,
  subject: () => ({ ...soundService, plugin: changed(change) }),
});

/** The health service as it is described, changed. */
const described = (change: (sound: ServiceDefinition) => Partial<ServiceDefinition>) => ({
  service: ({ definition, handlers }: ServiceImplementation): Services => ({
    definition: { ...definition, ...change(definition) },
    handlers,
  }),
});

const renamed = (from: string, to: string) =>
  described(({ methods }) => {
    const rename = (method: MethodDefinition) => (method.name === from ? { ...method, name: to } : method);
    return { methods: Object.fromEntries(Object.entries(methods).map(([key, method]) => [key, rename(method)])) };
  });

const GARBAGE = Symbol('a request that does not decode');

/** `Check` takes requests that do not decode, and leaves them to `handle`; `answer` is what it says to others. */
const takingGarbage =
  (handle: (isGarbage: boolean, answer: () => unknown) => unknown) =>
  ({ definition, handlers }: ServiceImplementation): Services => {
    const { check } = definition.methods;
    const { check: answer } = handlers;
    if (check === undefined || answer === undefined) throw internal('health has no method "check"');
    const decode = (bytes: Uint8Array): unknown => {
      try {
        return check.requestType.decode(bytes);
      } catch {
        return GARBAGE;
      }
    };
    const methods = { ...definition.methods, check: { ...check, requestType: { ...check.requestType, decode } } };
    const handler: typeof answer = (request, call) => handle(request === GARBAGE, () => answer(request, call));
    return { definition: { ...definition, methods }, handlers: { ...handlers, check: handler } };
  };

/** One such request, and no other is served. */
const poisoned = (sound: ServiceImplementation): Services => {
  let isIll = false;
  return takingGarbage(async (isGarbage, answer) => {
    if (isIll) throw unavailable('an earlier request was too much for the service');
    isIll = isGarbage;
    if (isGarbage) throw invalidArgument('the request does not decode');
    return answer();
  })(sound);
};

const hanging = takingGarbage((isGarbage, answer) => (isGarbage ? new Promise(() => undefined) : answer()));

const WELL_FORMED = /has a full name and methods of the form/;

export const serviceMutants: readonly Mutant<ServiceSubject>[] = [
  mutant(
    'its full name has no package',
    WELL_FORMED,
    described(() => ({ fullName: 'Health' })),
  ),
  mutant(
    'its full name holds a slash',
    WELL_FORMED,
    described(() => ({ fullName: 'grpc.health.v1/Health' })),
  ),
  mutant(
    'it has no methods',
    WELL_FORMED,
    described(() => ({ methods: {} })),
  ),
  mutant('a method begins with a small letter', WELL_FORMED, renamed('Check', 'check')),
  mutant('two methods have one name', WELL_FORMED, renamed('Watch', 'Check')),
  mutant('a method has no handler', /has a handler for each method/, {
    service: ({ definition, handlers }) => ({
      definition,
      handlers: Object.fromEntries(Object.entries(handlers).filter(([key]) => key !== 'watch')),
    }),
  }),
  mutant('the second of its services has no handlers', /has a handler for each method/, {
    service: (sound) => [sound, { definition: { ...sound.definition, fullName: 'kit.v1.Second' }, handlers: {} }],
  }),
  mutant('it offers no service', /answers over the socket/, { service: () => [] }),
  mutant('its wire name is not of the type of gRPC services', /is named by introspection/, {
    wire: { ...plugin.wire, type: 'io.containerd.service.v1' },
  }),
  mutant('a request that does not decode ends its service', /survives a request/, { service: poisoned }),
  mutant('a request that does not decode is never answered', /survives a request/, { service: hanging }),
  mutant('it takes settings that it does not know', /refuses settings/, { config: z.looseObject({}) }),
  mutant('its release fails', /stops, and takes its service away/, {
    release: () => {
      throw internal('the service cannot let go of what it holds');
    },
  }),
];
