/** Copies of descriptors: fcntl(2), pidfd_getfd(2). */
import { check, libc } from './libc.js';

const F_DUPFD_CLOEXEC = 1030;
const SYS_PIDFD_GETFD = 438;

const fcntl = libc.func('fcntl', 'int', ['int', 'int', 'long']);
const pidfdGetfd = libc.func('syscall', 'long', ['long', 'int', 'int', 'uint']);

/** Another descriptor of the same open file; not inherited by children. */
export const duplicate = (fd: number): number =>
  check(fcntl(fd, F_DUPFD_CLOEXEC, 0), 'duplicate descriptor', String(fd));

/** Our own descriptor of a file that another process has open (Linux 5.6); not inherited by children. */
export const duplicateOf = (pidfd: number, fd: number): number =>
  check(pidfdGetfd(SYS_PIDFD_GETFD, pidfd, fd, 0), 'pidfd_getfd', String(fd));
