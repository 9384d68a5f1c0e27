/**
 * The one error taxonomy of the project. The codes are those of gRPC
 * (https://grpc.github.io/grpc/core/md_doc_statuscodes.html) and are mapped to
 * gRPC and ttrpc exactly once, by the servers.
 */
export const ERROR_CODES = [
  'CANCELED',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorDetails {
  /** What the caller can do about it: one sentence, appended to the message. */
  readonly remedy?: string;
  /** The error underneath; kept, never printed twice. */
  readonly cause?: unknown;
}

/** An error of the taxonomy: what was being done to which object (ids in double quotes); the remedy, if any, ends it. */
export class KeelsonError extends Error {
  override readonly name = 'KeelsonError';
  readonly code: ErrorCode;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const text = details.remedy === undefined ? message : `${message}; ${details.remedy}`;
    super(text, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.remedy = details.remedy;
  }
}

const maker =
  (code: ErrorCode) =>
  (message: string, details?: ErrorDetails): KeelsonError =>
    new KeelsonError(code, message, details);

export const canceled = maker('CANCELED');
export const invalidArgument = maker('INVALID_ARGUMENT');
export const deadlineExceeded = maker('DEADLINE_EXCEEDED');
export const notFound = maker('NOT_FOUND');
export const alreadyExists = maker('ALREADY_EXISTS');
export const permissionDenied = maker('PERMISSION_DENIED');
export const resourceExhausted = maker('RESOURCE_EXHAUSTED');
export const failedPrecondition = maker('FAILED_PRECONDITION');
export const aborted = maker('ABORTED');
export const outOfRange = maker('OUT_OF_RANGE');
export const unimplemented = maker('UNIMPLEMENTED');
export const internal = maker('INTERNAL');
export const unavailable = maker('UNAVAILABLE');
export const dataLoss = maker('DATA_LOSS');
export const unauthenticated = maker('UNAUTHENTICATED');

/**
 * True for an error of the taxonomy with that code. Compares by shape, not by
 * class, so that errors of a plugin carrying its own copy of the kernel count.
 */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** The code of any thrown value: its own when it is of the taxonomy, else INTERNAL. */
export function codeOf(error: unknown): ErrorCode {
  if (!(error instanceof Error) || !('code' in error)) return 'INTERNAL';
  return ERROR_CODES.find((code) => code === error.code) ?? 'INTERNAL';
}

/**
 * What can go wrong in the kernel itself, one name per situation. Each has its
 * cause and remedy in ERRORS.md, held equal to this list by a test.
 */
export const SITUATIONS = [
  'KEELSON_CONFIG',
  'KEELSON_UNKNOWN_PLUGIN',
  'KEELSON_IMPORT',
  'KEELSON_NOT_A_PLUGIN',
  'KEELSON_API_VERSION',
  'KEELSON_WRONG_ID',
  'KEELSON_DUPLICATE_WIRE',
  'KEELSON_DUPLICATE_PROVIDER',
  'KEELSON_ARITY',
  'KEELSON_MISSING',
  'KEELSON_CYCLE',
  'KEELSON_DIRECTORY',
  'KEELSON_LOCKED',
  'KEELSON_DEPENDENCY',
  'KEELSON_START_FAILED',
  'KEELSON_START_DEADLINE',
  'KEELSON_WRONG_SHAPE',
  'KEELSON_REQUIRED',
  'KEELSON_STOP_FAILED',
  'KEELSON_STOP_DEADLINE',
] as const;

export type Situation = (typeof SITUATIONS)[number];

export interface Problem {
  readonly situation: Situation;
  /** One sentence; for configuration it begins with file, line, column and key path. */
  readonly message: string;
  readonly cause?: unknown;
}

export const problem = (situation: Situation, message: string, cause?: unknown): Problem =>
  cause === undefined ? { situation, message } : { situation, message, cause };

/** All the problems of one phase of the kernel, in one error. */
export class KernelError extends KeelsonError {
  readonly problems: readonly Problem[];

  /** `doing` says what was being done, for example `planning the start`. */
  constructor(code: ErrorCode, doing: string, problems: readonly Problem[]) {
    const sentences = problems.map(({ message }) => message);
    const told = sentences.length === 1 ? sentences[0] : [`${sentences.length} problems`, ...sentences].join('\n  ');
    super(code, `${doing}: ${told}`, { cause: problems.find(({ cause }) => cause !== undefined)?.cause });
    this.problems = problems;
  }
}

/** What a thrown value says, in one line. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
