/** Health checking (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). */
import { once } from 'node:events';
import { HealthDefinition, HealthCheckResponse_ServingStatus as Status } from '../../api/gen/grpc/health.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import { notFound } from '../../kernel/errors.js';
import { implement } from '../../lib/rpc/definition.js';

/** The unnamed service stands for the whole daemon. No other is known, as with containerd. */
const isWhole = (service: string): boolean => service === '';

export const healthService = (): GrpcService =>
  implement(HealthDefinition, {
    async check({ service }) {
      if (!isWhole(service))
        throw notFound(`health of "${service}" is not known`, { remedy: 'ask for the service ""' });
      return { status: Status.SERVING };
    },
    async *watch({ service }, { signal }) {
      yield { status: isWhole(service) ? Status.SERVING : Status.SERVICE_UNKNOWN };
      if (!signal.aborted) await once(signal, 'abort');
    },
  });
