/**
 * Tar entries as a reader sees them: long names, pax records and sparse maps
 * already applied. Names are *byte strings*: one character per byte (latin1),
 * since names in archives are bytes and need not be valid UTF-8.
 */
import { invalidArgument, type KeelsonError } from '../../kernel/errors.js';

export const BLOCK = 512;

export type EntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'character' | 'block' | 'fifo';

/** Whole seconds since the epoch, and 0 to 999 999 999 nanoseconds on top. */
export interface TarTime {
  readonly seconds: number;
  readonly nanos: number;
}

/** A piece of a sparse file that holds data, in bytes. */
export interface Region {
  readonly offset: number;
  readonly length: number;
}

export interface TarEntry {
  readonly type: EntryType;
  /** As written in the archive; not cleaned, not trusted. */
  readonly name: string;
  /** Target of a symlink or hardlink. */
  readonly link: string;
  /** Permission bits, setuid, setgid and sticky: at most 0o7777. */
  readonly mode: number;
  /** As written: may be negative or beyond 32 bits. */
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file as it will read, holes included; 0 for anything but a file. */
  readonly size: number;
  /** The epoch where the archive's time is before it, or beyond what 64 bits of nanoseconds hold. */
  readonly mtime: TarTime;
  /** Not before `mtime`. */
  readonly atime: TarTime;
  /** As written: may be out of range. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes by name (`SCHILY.xattr.*` records). */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Present for a sparse file: where its data goes, in order, without overlap. */
  readonly regions?: readonly Region[];
}

/** An archive that is not well formed. */
export const malformed = (what: string): KeelsonError => invalidArgument(`malformed tar archive: ${what}`);
