import type { CredentialSource } from '../../kernel/contracts/credentials.js';
import type { Credentials, CredentialsRequest } from '../../kernel/contracts/distribution.js';
import { findLogin } from '../../lib/docker-config/login.js';

export interface DockerCredentialsOptions {
  readonly file: string;
  readonly path: string;
  readonly home: string;
  /** Milliseconds. */
  readonly deadline: number;
}

export class DockerCredentials implements CredentialSource {
  readonly #options: DockerCredentialsOptions;

  constructor(options: DockerCredentialsOptions) {
    this.#options = options;
  }

  async find({ host }: CredentialsRequest): Promise<Credentials | undefined> {
    const { file, path, home, deadline } = this.#options;
    const login = await findLogin(file, host, { env: { PATH: path, HOME: home }, deadline });
    if (!login) return undefined;
    const { username, secret } = login;
    return username === '' ? { kind: 'refresh-token', token: secret } : { kind: 'password', username, secret };
  }
}
