import { status } from '@grpc/grpc-js';
import { unavailable } from '../kernel/errors.js';
import { errorOfStatus } from '../lib/rpc/status.js';

interface ServiceErrorShape {
  readonly code: number;
  readonly details: string;
}

const isServiceError = (error: unknown): error is Error & ServiceErrorShape =>
  error instanceof Error &&
  'details' in error &&
  typeof error.details === 'string' &&
  'code' in error &&
  typeof error.code === 'number';

/** No connection, as opposed to a daemon that answers UNAVAILABLE of its own. */
const isUnreachable = ({ code, details }: ServiceErrorShape): boolean =>
  code === status.UNAVAILABLE && /^No connection established|ECONNREFUSED|ENOENT|EACCES/.test(details);

/** The error of the taxonomy behind what grpc-js reports; anything else is returned as it is. */
export function fromServiceError(error: unknown, address: string): unknown {
  if (!isServiceError(error)) return error;
  if (!isUnreachable(error)) return errorOfStatus({ code: error.code, message: error.details }, error);
  return unavailable(`nothing answers at "${address}"`, {
    remedy: 'start keelsond, or name its socket with --address',
    cause: error,
  });
}
