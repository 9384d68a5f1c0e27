/** Which addresses a server may send us to. The URL parser has already turned every spelling of an IPv4 address into dotted decimals. */
import { BlockList, isIP } from 'node:net';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('0.0.0.0', 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
LOOPBACK.addAddress('::', 'ipv6');

/** Where clouds serve their metadata, credentials included. */
const LINK_LOCAL = new BlockList();
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4');
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6');

function inList(list: BlockList, hostname: string): boolean {
  const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  const family = isIP(address);
  // An IPv4 address mapped into IPv6 is found in the IPv4 list.
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** `localhost`, or an address of this machine. */
export const isLoopback = (hostname: string): boolean => {
  const name = hostname.toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || inList(LOOPBACK, name);
};

const isLinkLocal = (hostname: string): boolean => inList(LINK_LOCAL, hostname.toLowerCase());

/** Why a server at `from` may not send us to `to`; undefined when it may. */
export function refusal(from: URL, to: URL): string | undefined {
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return `the scheme "${to.protocol}" is not http`;
  if (from.protocol === 'https:' && to.protocol === 'http:') return 'it leads from https to http';
  if (from.hostname === to.hostname) return undefined;
  if (isLinkLocal(to.hostname)) return 'it leads to a link-local address';
  if (isLoopback(to.hostname) && !isLoopback(from.hostname)) return 'it leads to this machine';
  return undefined;
}
