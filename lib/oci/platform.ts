/**
 * Platforms: their normal form, their text form, and which image runs on which
 * host, with containerd's rules (https://github.com/containerd/platforms).
 */
import { arch } from 'node:os';
import { invalidArgument } from '../../kernel/errors.js';

export interface ImagePlatform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

const OS_ALIASES: Readonly<Record<string, string>> = { macos: 'darwin' };

const ARCHITECTURE_ALIASES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  i386: ['386'],
  'x86-64': ['amd64'],
  x86_64: ['amd64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** What Node calls the architecture that Go, and so every image, calls otherwise. */
const GO_ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
  ppc64: 'ppc64le',
};

const alias = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;

/** The variant that goes without saying is dropped. */
function normalVariant(architecture: string, variant: string): string {
  if (architecture === 'amd64') return variant === 'v1' ? '' : variant;
  if (architecture === 'arm64') return variant === '8' || variant === 'v8' ? '' : variant;
  if (architecture !== 'arm') return variant;
  if (variant === '' || variant === '7') return 'v7';
  return /^[568]$/.test(variant) ? `v${variant}` : variant;
}

/** Lower case, aliases resolved, implied variants dropped. */
export function normalizePlatform(platform: ImagePlatform): ImagePlatform {
  const os = platform.os.toLowerCase();
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = alias(ARCHITECTURE_ALIASES, given) ?? [given];
  const variant = normalVariant(architecture, (platform.variant || implied || '').toLowerCase());
  return { os: alias(OS_ALIASES, os) ?? os, architecture, ...(variant === '' ? {} : { variant }) };
}

/** `linux/arm64/v8`. */
export const formatPlatform = ({ os, architecture, variant }: ImagePlatform): string =>
  [os, architecture, ...(variant ? [variant] : [])].join('/');

/** `linux/amd64`, `linux/arm/v7`, or an architecture alone. INVALID_ARGUMENT when malformed. */
export function parsePlatform(text: string): ImagePlatform {
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$/.test(part))) {
    throw invalidArgument(
      `platform ${JSON.stringify(text.slice(0, 100))} is malformed; write os/architecture or os/architecture/variant`,
    );
  }
  const [first = '', second, variant] = parts;
  if (second === undefined) return normalizePlatform({ os: 'linux', architecture: first });
  return normalizePlatform({ os: first, architecture: second, ...(variant === undefined ? {} : { variant }) });
}

/** The platform this process runs on. */
export const hostPlatform = (): ImagePlatform =>
  normalizePlatform({ os: 'linux', architecture: alias(GO_ARCHITECTURES, arch()) ?? arch() });

function* downwards(prefix: ImagePlatform, from: number, to: number): Iterable<ImagePlatform> {
  for (let level = from; level >= to; level--) {
    yield normalizePlatform({ os: prefix.os, architecture: prefix.architecture, variant: `v${level}` });
  }
}

/** Every platform whose programs run on that one, best first, itself included. */
export function runnableOn(platform: ImagePlatform): readonly ImagePlatform[] {
  const host = normalizePlatform(platform);
  const { os, architecture, variant = '' } = host;
  const level = Number(/^v(\d{1,2})$/.exec(variant)?.[1] ?? Number.NaN);
  switch (architecture) {
    case 'amd64': {
      const levels = Number.isNaN(level) ? [host] : [...downwards(host, level, 1)];
      return [...levels, { os, architecture: '386' }];
    }
    case 'arm':
      return Number.isNaN(level) ? [host] : [...downwards(host, level, 5)];
    case 'arm64':
      return [host, ...(variant === '' ? [] : [{ os, architecture }]), ...downwards({ os, architecture: 'arm' }, 8, 5)];
    default:
      return [host];
  }
}

/** How well an image suits a host: 0 is best; undefined when it does not run there. */
export function suitability(host: ImagePlatform, image: ImagePlatform): number | undefined {
  const wanted = formatPlatform(normalizePlatform(image));
  const rank = runnableOn(host).findIndex((candidate) => formatPlatform(candidate) === wanted);
  return rank < 0 ? undefined : rank;
}
