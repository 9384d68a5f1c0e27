/**
 * Errors of the operating system (errno(3)) in terms of the taxonomy: one
 * table for the runtime's file system calls and for our own system calls.
 */
import { type ErrorCode, KeelsonError } from '../kernel/errors.js';

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ESRCH: 'NOT_FOUND',
  EEXIST: 'ALREADY_EXISTS',
  EINVAL: 'INVALID_ARGUMENT',
  ENAMETOOLONG: 'INVALID_ARGUMENT',
  ELOOP: 'INVALID_ARGUMENT',
  EACCES: 'PERMISSION_DENIED',
  EPERM: 'PERMISSION_DENIED',
  ENOSPC: 'RESOURCE_EXHAUSTED',
  EDQUOT: 'RESOURCE_EXHAUSTED',
  EMFILE: 'RESOURCE_EXHAUSTED',
  ENFILE: 'RESOURCE_EXHAUSTED',
  ENOMEM: 'RESOURCE_EXHAUSTED',
  EAGAIN: 'UNAVAILABLE',
  EBUSY: 'FAILED_PRECONDITION',
  ENOTEMPTY: 'FAILED_PRECONDITION',
  EROFS: 'FAILED_PRECONDITION',
  ENOSYS: 'UNIMPLEMENTED',
  EOPNOTSUPP: 'UNIMPLEMENTED',
  EIO: 'DATA_LOSS',
};

/** The taxonomy's code for an errno by name; INTERNAL for those that say nothing to a caller. */
export const codeOfErrno = (name: string): ErrorCode => CODES[name] ?? 'INTERNAL';

/** True for an error of a system call, Node's or our own, with one of these errno names (`ENOENT`). */
export const isErrno = (error: unknown, ...names: readonly string[]): boolean =>
  error instanceof Error &&
  (('code' in error && names.some((name) => name === error.code)) ||
    ('errno' in error && names.some((name) => name === error.errno)));

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free disk space (removing images works on a full disk)',
  EDQUOT: 'free disk space or raise the quota',
  EIO: 'the disk failed: see the kernel log',
};

/**
 * A failed file system call as an error of the taxonomy; an error of any other
 * kind is returned as it is. `doing` completes "while": `writing ingest "x"`.
 */
export function fileError(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return error;
  const errno = String(error.code);
  const remedy = REMEDIES[errno];
  const message = `${doing}: ${String(error.syscall)}: ${errno}`;
  return new KeelsonError(codeOfErrno(errno), message, { cause: error, ...(remedy && { remedy }) });
}

/** Awaits file system work, turning what it throws with {@link fileError}. */
export async function whileDoing<T>(doing: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw fileError(error, doing);
  }
}
