/**
 * Credential sources: who this daemon is to a registry, when the caller of a
 * pull or a push has not said.
 *
 * A source is asked with the host of the registry as contacted, port included,
 * and never with that of a token server: where a registry sends us to get its
 * tokens chooses no credentials. Sources are asked in the order of their wire
 * ids; the first answer counts. A source that fails ends the call with its
 * error: to go on as nobody could hide what is wrong.
 */
import { many } from '../token.js';
import type { Credentials, CredentialsRequest } from './distribution.js';

export interface CredentialSource {
  /** Undefined when the source knows nothing of that registry. */
  find(request: CredentialsRequest): Promise<Credentials | undefined>;
}

export const CredentialSources = many<CredentialSource>('credential-source@1');
