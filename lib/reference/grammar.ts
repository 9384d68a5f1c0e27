/**
 * The grammar of image references, character by character, so that the time it
 * takes is linear in the length whatever the input
 * (https://github.com/distribution/reference/blob/main/reference.go).
 */

const isLowerAlnum = (code: number): boolean => (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a);
const isAlnum = (code: number): boolean => isLowerAlnum(code) || (code >= 0x41 && code <= 0x5a);
const isHexOrColon = (code: number): boolean =>
  (code >= 0x30 && code <= 0x3a) || (code >= 0x41 && code <= 0x46) || (code >= 0x61 && code <= 0x66);

const DASH = 0x2d;
const DOT = 0x2e;
const UNDERSCORE = 0x5f;

function every(text: string, accepts: (code: number) => boolean): boolean {
  for (let at = 0; at < text.length; at++) if (!accepts(text.charCodeAt(at))) return false;
  return text.length > 0;
}

function isDomainLabel(label: string): boolean {
  if (!every(label, (code) => isAlnum(code) || code === DASH)) return false;
  return !label.startsWith('-') && !label.endsWith('-');
}

function isPort(text: string): boolean {
  return text.length <= 5 && every(text, (code) => code >= 0x30 && code <= 0x39) && Number(text) <= 65535;
}

function isHostName(host: string): boolean {
  if (host.startsWith('[')) return host.endsWith(']') && every(host.slice(1, -1), isHexOrColon) && host.includes(':');
  return host.length <= 253 && host.split('.').every(isDomainLabel);
}

/** A host with an optional port: `docker.io`, `localhost:5000`, `[::1]:5000`. */
export function isHost(text: string): boolean {
  const colon = text.lastIndexOf(':');
  if (colon < 0 || text.endsWith(']')) return isHostName(text);
  return isHostName(text.slice(0, colon)) && isPort(text.slice(colon + 1));
}

/** Lower-case letters and digits, joined by one dot, one or two underscores, or any number of dashes. */
function isPathComponent(component: string): boolean {
  let separator = '';
  for (let at = 0; at < component.length; at++) {
    const code = component.charCodeAt(at);
    if (isLowerAlnum(code)) {
      separator = '';
      continue;
    }
    if (at === 0 || (code !== DASH && code !== DOT && code !== UNDERSCORE)) return false;
    const char = component.charAt(at);
    const joins =
      separator === '' || (char === '-' && separator.startsWith('-')) || (char === '_' && separator === '_');
    if (!joins) return false;
    separator = char === '-' ? '-' : separator + char;
  }
  return component !== '' && separator === '';
}

/** The repository below a host: `library/redis`. */
export const isRepository = (text: string): boolean => text.split('/').every(isPathComponent);

/** A tag: at most 128 characters, letters, digits, `_`, and after the first also `.` and `-`. */
export function isTag(text: string): boolean {
  if (text.length > 128) return false;
  if (!every(text, (code) => isAlnum(code) || code === UNDERSCORE || code === DOT || code === DASH)) return false;
  return !text.startsWith('.') && !text.startsWith('-');
}
