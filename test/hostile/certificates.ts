/** Throwaway certificates for registries on loopback, made by openssl. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { succeed } from '../harness/command.js';
import { scratch } from '../harness/scratch.js';

export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

export interface Certificates {
  /** PEM of the authority that signed the others. */
  readonly authority: string;
  /** For 127.0.0.1. */
  readonly server: KeyPair;
  /** For another host. */
  readonly wrongHost: KeyPair;
  /** For 127.0.0.1, but expired. */
  readonly expired: KeyPair;
  readonly client: KeyPair;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export async function makeCertificates(): Promise<Certificates> {
  await using directory = await scratch('certificates');
  const at = (name: string): string => join(directory.path, name);
  const openssl = (...args: readonly string[]) => succeed('openssl', args);
  const authority = ['-keyout', at('ca.key'), '-out', at('ca.crt')];
  await openssl('req', '-x509', ...KEY, ...authority, '-subj', '/CN=test authority', '-days', '2');

  await writeFile(at('serial'), '01');
  await writeFile(at('index.txt'), '');
  await writeFile(at('ca.cnf'), configuration(directory.path));

  const pair = async (name: string): Promise<KeyPair> => ({
    key: await readFile(at(`${name}.key`), 'utf8'),
    cert: await readFile(at(`${name}.crt`), 'utf8'),
  });
  const signed = async (name: string, alternative: string, until = '20990101000000Z'): Promise<KeyPair> => {
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternative}`];
    await openssl('req', '-new', ...KEY, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), ...subject);
    const validity = ['-startdate', '20200101000000Z', '-enddate', until];
    const files = ['-config', at('ca.cnf'), '-in', at(`${name}.csr`), '-out', at(`${name}.crt`)];
    await openssl('ca', '-batch', '-notext', ...files, ...validity);
    return pair(name);
  };
  return {
    authority: await readFile(at('ca.crt'), 'utf8'),
    server: await signed('server', 'IP:127.0.0.1'),
    wrongHost: await signed('wrong', 'DNS:registry.example'),
    expired: await signed('expired', 'IP:127.0.0.1', '20200102000000Z'),
    client: await signed('client', 'DNS:client.example'),
  };
}

/** What `openssl ca` wants to know; only it can make a certificate that has expired. */
const configuration = (directory: string): string => `
[ca]
default_ca = test
[test]
dir = ${directory}
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir
certificate = $dir/ca.crt
private_key = $dir/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
`;
