import { open } from 'node:fs/promises';
import { invalidArgument } from '../../kernel/errors.js';
import { isErrno } from '../errno.js';
import { type DockerConfig, helperAddress, type Login, MAX_CONFIG, parseDockerConfig, registryKey } from './config.js';
import { askHelper, type HelperOptions } from './helper.js';

/** Undefined when there is no such file. INVALID_ARGUMENT when it is malformed or too large. */
async function readConfig(file: string): Promise<DockerConfig | undefined> {
  try {
    const handle = await open(file, 'r');
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(MAX_CONFIG + 1), 0, MAX_CONFIG + 1, 0);
      if (bytesRead > MAX_CONFIG) throw invalidArgument(`"${file}" is larger than ${MAX_CONFIG} bytes`);
      return parseDockerConfig(file, buffer.toString('utf8', 0, bytesRead));
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Who somebody is to a registry by their `config.json`: what the helper of that
 * registry says, else the helper for all, else the file itself. Read again each
 * time. Undefined when nobody knows; errors as {@link askHelper}.
 */
export async function findLogin(file: string, host: string, options: HelperOptions): Promise<Login | undefined> {
  const config = await readConfig(file);
  if (!config) return undefined;
  const key = registryKey(host);
  const helper = config.helpers.get(key) ?? config.store;
  const login = helper === undefined ? undefined : await askHelper(helper, helperAddress(host), options);
  return login ?? config.logins.get(key);
}
