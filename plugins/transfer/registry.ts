/** containerd.types.transfer.RegistryResolver: how the client wants the registry to be reached. */
import { AuthRequest, AuthResponse, AuthType, type RegistryResolver } from '../../api/gen/types/transfer.js';
import type { Credentials, CredentialsRequest, RegistryAccess } from '../../kernel/contracts/distribution.js';
import type { MessageStream } from '../../kernel/contracts/streams.js';
import { invalidArgument, unauthenticated } from '../../kernel/errors.js';
import { packAny, unpackAny } from '../../lib/rpc/any.js';

export function registryAccess(
  resolver: RegistryResolver | undefined,
  authStream: MessageStream | undefined,
): RegistryAccess {
  const { headers = {}, hostDir = '', defaultScheme = '' } = resolver ?? {};
  if (defaultScheme !== '' && defaultScheme !== 'http' && defaultScheme !== 'https') {
    throw invalidArgument(`default scheme "${defaultScheme}" is neither http nor https`);
  }
  return {
    headers,
    ...(hostDir === '' ? {} : { hostsDirectory: hostDir }),
    ...(defaultScheme === '' ? {} : { defaultScheme }),
    ...(authStream === undefined ? {} : { credentials: asking(authStream) }),
  };
}

/** Asks the client on its stream, one question at a time: answers carry no name. */
function asking(stream: MessageStream): (request: CredentialsRequest) => Promise<Credentials | undefined> {
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const answer = last.then(() => ask(stream, request));
    last = answer.catch(() => {});
    return answer;
  };
}

async function ask(
  stream: MessageStream,
  { host, reference, challenges }: CredentialsRequest,
): Promise<Credentials | undefined> {
  await stream.send(packAny(AuthRequest, { host, reference, wwwauthenticate: [...challenges] }));
  const answer = await stream.receive();
  if (!answer)
    throw unauthenticated(`the client was asked for credentials for registry "${host}" and closed its stream`);
  return toCredentials(unpackAny(AuthResponse, answer));
}

/** Go's client answers REFRESH with no secret when it has nothing. */
function toCredentials({ authType, username, secret }: AuthResponse): Credentials | undefined {
  if (secret === '') return undefined;
  if (authType === AuthType.CREDENTIALS) return { kind: 'password', username, secret };
  if (authType === AuthType.REFRESH) return { kind: 'refresh-token', token: secret };
  if (authType === AuthType.HEADER) return { kind: 'header', value: secret };
  return undefined;
}
