/** What went wrong with a call, as an error of the taxonomy. */
import { type ServiceError, status } from '@grpc/grpc-js';
import { canceled, type KeelsonError, unavailable } from '../../kernel/errors.js';
import { errorOfStatus, isExpected } from './status.js';

/** By errno: what can be done about a socket that does not answer. */
export type Remedies = Readonly<Record<string, string>>;

/** The message of grpc-js when a connection failed holds the errno only as text. */
function unreachable(error: ServiceError, address: string, remedies: Remedies): KeelsonError | undefined {
  if (error.code !== status.UNAVAILABLE) return undefined;
  const errno = /\b(?:connect|read|write) (E[A-Z]+)\b/.exec(error.details)?.[1];
  if (errno === undefined) return undefined;
  const remedy = remedies[errno];
  return unavailable(`nothing answers at "${address}" (${errno})`, {
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  });
}

const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && 'details' in error && typeof error.details === 'string';

/** Why a call failed. An aborted signal comes first: its reason, or CANCELED. */
export function callFailure(
  error: unknown,
  address: string,
  remedies: Remedies,
  signal: AbortSignal | undefined,
): unknown {
  if (signal?.aborted) return isExpected(signal.reason) ? signal.reason : canceled('the call was canceled');
  if (!isServiceError(error)) return error;
  return unreachable(error, address, remedies) ?? errorOfStatus({ code: error.code, message: error.details }, error);
}
