/**
 * The error taxonomy on the wire: the one place where it meets the status
 * numbers that gRPC and ttrpc share
 * (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
 */
import { codeOf, ERROR_CODES, type ErrorCode, KeelsonError } from '../../kernel/errors.js';

export const STATUS_OK = 0;

const STATUS_NUMBERS: Readonly<Record<ErrorCode, number>> = {
  CANCELED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
};

export interface WireStatus {
  readonly code: number;
  readonly message: string;
}

export const statusNumber = (code: ErrorCode): number => STATUS_NUMBERS[code];

/** The code of a status number. UNKNOWN (2) and numbers that do not exist are INTERNAL. */
export const codeOfStatus = (status: number): ErrorCode =>
  ERROR_CODES.find((code) => STATUS_NUMBERS[code] === status) ?? 'INTERNAL';

/** True when the error is of the taxonomy, and so was meant for the caller. */
export const isExpected = (error: unknown): error is KeelsonError =>
  error instanceof Error && 'code' in error && ERROR_CODES.some((code) => code === error.code);

/**
 * What stands behind an AbortError: `AbortSignal` puts its reason, which the
 * servers make an error of the taxonomy, into `cause` of errors that Node makes.
 */
const unwrapAbort = (error: unknown): unknown =>
  error instanceof Error && error.name === 'AbortError' && isExpected(error.cause) ? error.cause : error;

/** The status of any thrown value. What is not of the taxonomy is INTERNAL. */
export function statusOf(thrown: unknown): WireStatus {
  const error = unwrapAbort(thrown);
  return {
    code: STATUS_NUMBERS[codeOf(error)],
    message: error instanceof Error ? error.message : String(error),
  };
}

/** The error a peer meant with its status. */
export const errorOfStatus = (status: WireStatus, cause?: unknown): KeelsonError =>
  new KeelsonError(codeOfStatus(status.code), status.message, cause === undefined ? {} : { cause });
