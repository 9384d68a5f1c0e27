import type { CredentialSource } from '../../kernel/contracts/credentials.js';
import type { RegistryAccess } from '../../kernel/contracts/distribution.js';

/** The caller is asked first, then every source in the order of their ids. */
export const withSources = (
  access: RegistryAccess,
  sources: ReadonlyMap<string, CredentialSource>,
): RegistryAccess => ({
  ...access,
  async credentials(request) {
    const own = await access.credentials?.(request);
    if (own) return own;
    for (const id of [...sources.keys()].sort()) {
      const found = await sources.get(id)?.find(request);
      if (found) return found;
    }
    return undefined;
  },
});
