/**
 * Versions of OCI runtimes out of which containers are known to break. From the
 * advisories of opencontainers/runc; a distribution may have mended an older
 * version without changing its number, so what to do about it is for the
 * configuration to say.
 */
import type { ProgramVersion } from './facts.js';

export interface Escape {
  readonly advisory: string;
  /** It lets a container out, or lets an image write where it wants; others are told of, but refused by nobody. */
  readonly breaksOut: boolean;
}

interface Entry extends Escape {
  readonly program: string;
  /** The first mended version of each line that was mended, oldest first. */
  readonly mended: readonly string[];
}

const BREAKS_OUT = { program: 'runc', breaksOut: true } as const;

const ESCAPES: readonly Entry[] = [
  { ...BREAKS_OUT, advisory: 'CVE-2019-5736', mended: ['1.0.0-rc7'] },
  { ...BREAKS_OUT, advisory: 'CVE-2021-30465', mended: ['1.0.0-rc95'] },
  { ...BREAKS_OUT, advisory: 'CVE-2024-21626', mended: ['1.1.12'] },
  { ...BREAKS_OUT, advisory: 'CVE-2025-31133', mended: ['1.2.8', '1.3.3', '1.4.0-rc.3'] },
  { ...BREAKS_OUT, advisory: 'CVE-2025-52565', mended: ['1.2.8', '1.3.3', '1.4.0-rc.3'] },
  { ...BREAKS_OUT, advisory: 'CVE-2025-52881', mended: ['1.2.8', '1.3.3', '1.4.0-rc.3'] },
  // Files are made or changed where a link of the image's /dev leads, with no choice of what is in them.
  { program: 'runc', breaksOut: false, advisory: 'CVE-2026-41579', mended: ['1.3.6', '1.4.3', '1.5.0-rc.3'] },
];

/** Major, minor, patch, and the number of a release candidate: none counts as the highest. */
type Parsed = readonly [number, number, number, number];

function parse(version: string): Parsed | undefined {
  const [, major, minor, patch, candidate] = /^v?(\d+)\.(\d+)\.(\d+)(?:-rc\.?(\d+))?/.exec(version) ?? [];
  if (major === undefined) return undefined;
  return [Number(major), Number(minor), Number(patch), Number(candidate ?? Number.POSITIVE_INFINITY)];
}

const isBefore = (a: Parsed, b: Parsed): boolean => {
  const differs = a.findIndex((part, index) => part !== b[index]);
  return differs >= 0 && (a[differs] ?? 0) < (b[differs] ?? 0);
};

const sameLine = (a: Parsed, b: Parsed): boolean => a[0] === b[0] && a[1] === b[1];

/** A line without a mended version of its own is taken by the first later one that has one. */
function isOpen(version: Parsed, mended: readonly string[]): boolean {
  const versions = mended.map(parse).filter((entry): entry is Parsed => entry !== undefined);
  const own = versions.find((entry) => sameLine(entry, version));
  return own ? isBefore(version, own) : versions.some((entry) => isBefore(version, entry));
}

/** The advisories open in that version; none for programs and versions that are not understood. */
export function knownEscapes({ name, version }: ProgramVersion): Escape[] {
  const parsed = parse(version);
  if (parsed === undefined) return [];
  return ESCAPES.filter(({ program, mended }) => program === name && isOpen(parsed, mended)).map(
    ({ advisory, breaksOut }) => ({ advisory, breaksOut }),
  );
}
