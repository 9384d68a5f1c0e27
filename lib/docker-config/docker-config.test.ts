import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { parseDockerConfig, registryKey } from './config.js';
import { findLogin } from './login.js';

const CANARY = 'canary-docker-81';
const basic = (text: string): string => Buffer.from(text).toString('base64');

describe('config.json of Docker', () => {
  let directory: Scratch;
  let file: string;
  let env: Record<string, string>;

  before(async () => {
    directory = await scratch('docker-config');
    file = join(directory.path, 'config.json');
    await mkdir(join(directory.path, 'bin'));
    env = { PATH: `.:bin:${join(directory.path, 'bin')}:/usr/bin:/bin`, HOME: directory.path };
  });
  after(() => directory[Symbol.asyncDispose]());

  const helper = async (name: string, script: string): Promise<void> => {
    const program = join(directory.path, 'bin', `docker-credential-${name}`);
    await writeFile(program, `#!/bin/sh\n${script}\n`);
    await chmod(program, 0o755);
  };
  const find = async (host: string, config: unknown, deadline = 5000) => {
    await writeFile(file, typeof config === 'string' ? config : JSON.stringify(config));
    return findLogin(file, host, { env, deadline });
  };
  const discreet = (code: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes(CANARY));
    return true;
  };

  it('names Docker Hub once, whatever it is called', () => {
    for (const name of ['docker.io', 'https://index.docker.io/v1/', 'registry-1.docker.io']) {
      assert.equal(registryKey(name), 'index.docker.io');
    }
    assert.equal(registryKey('HTTP://Quay.io:443/v2/x'), 'quay.io:443');
  });

  it('holds logins itself', async () => {
    const config = {
      auths: {
        'https://index.docker.io/v1/': { auth: basic('hub:p:w') },
        'quay.io': { username: 'me', password: 'pw' },
        'ghcr.io': { auth: basic('x:y'), identitytoken: 'tok' },
        'empty.io': {},
        'null.io': null,
        'broken.io': { auth: '%%%' },
      },
    };
    assert.deepEqual(await find('registry-1.docker.io', config), { username: 'hub', secret: 'p:w' });
    assert.deepEqual(await find('quay.io', config), { username: 'me', secret: 'pw' });
    assert.deepEqual(await find('ghcr.io', config), { username: '', secret: 'tok' });
    for (const host of ['empty.io', 'null.io', 'broken.io', 'quay.io:444', 'evil-quay.io', 'constructor']) {
      assert.equal(await find(host, config), undefined, host);
    }
    assert.equal(await findLogin(join(directory.path, 'none'), 'quay.io', { env, deadline: 1 }), undefined);
  });

  it('asks the helper of the registry, else the one for all, else itself', async () => {
    await helper('one', 'read host; echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"$1 $host $HOME\\"}"');
    await helper('all', 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"refresh\\"}"');
    await helper('none', 'echo "credentials not found in native keychain"; exit 1');
    const config = { credsStore: 'all', credHelpers: { 'quay.io': 'one', 'docker.io': 'one', 'x.io': 'none' } };
    const logins = { ...config, auths: { 'x.io': { auth: basic('in:file') } } };
    assert.deepEqual(await find('quay.io', config), { username: 'one', secret: `get quay.io ${directory.path}` });
    assert.match((await find('docker.io', config))?.secret ?? '', /^get https:\/\/index\.docker\.io\/v1\/ /);
    assert.deepEqual(await find('other.io', config), { username: '', secret: 'refresh' });
    assert.equal(await find('x.io', config), undefined);
    assert.deepEqual(await find('x.io', logins), { username: 'in', secret: 'file' });
  });

  it('gives a helper nothing but what it needs, and shows nothing of it', async () => {
    await helper('fails', `echo '{"Secret":"${CANARY}"}'; echo ${CANARY} >&2; exit 3`);
    await helper('babbles', `echo '${CANARY}'`);
    await helper('floods', 'head -c 20000000 /dev/zero');
    await helper('hangs', 'sleep 30 & wait');
    await helper(
      'looks',
      'env | grep -qv "^PATH=\\|^HOME=\\|^PWD=\\|^_=\\|^SHLVL=\\|^OLDPWD=" && exit 9; pwd | grep -qx / || exit 8; echo "{\\"Secret\\":\\"s\\"}"',
    );
    const asking = (name: string, deadline?: number) => find('quay.io', { credsStore: name }, deadline);
    await assert.rejects(
      asking('fails'),
      discreet('FAILED_PRECONDITION', /docker-credential-fails" ended with status 3/),
    );
    await assert.rejects(asking('babbles'), discreet('FAILED_PRECONDITION', /cannot be read/));
    await assert.rejects(asking('floods'), discreet('FAILED_PRECONDITION', /cannot be read/));
    const started = performance.now();
    await assert.rejects(asking('hangs', 300), discreet('DEADLINE_EXCEEDED', /300 ms/));
    assert.ok(performance.now() - started < 5000);
    assert.equal((await asking('looks'))?.secret, 's');
  });

  it('runs no program that a name or a directory smuggles in', async () => {
    for (const name of ['../../bin/sh', 'a/b', '', '-x', 'x y', 'x'.repeat(65), `${CANARY}\n`]) {
      if (name === '') continue;
      await assert.rejects(find('quay.io', { credsStore: name }), (error) => {
        assert.ok(error instanceof Error && 'code' in error && error.code === 'FAILED_PRECONDITION');
        return true;
      });
    }
    await writeFile(join(directory.path, 'bin', 'docker-credential-data'), 'no program');
    await assert.rejects(find('quay.io', { credsStore: 'data' }), discreet('NOT_FOUND', /is in no directory of PATH/));
    await assert.rejects(find('quay.io', { credsStore: 'absent' }), discreet('NOT_FOUND', /PATH/));
  });

  it('is refused when it is malformed, and never quoted', async () => {
    for (const text of [`{"${CANARY}`, '[]', `{"auths":{"x":{"auth":{"${CANARY}":5}}}}`, '{"credHelpers":{"x":5}}']) {
      assert.throws(
        () => parseDockerConfig('/f/config.json', text),
        discreet('INVALID_ARGUMENT', /"\/f\/config\.json"/),
      );
    }
    await assert.rejects(find('quay.io', ' '.repeat(1024 * 1024 + 2)), discreet('INVALID_ARGUMENT', /larger than/));
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
    const { logins } = parseDockerConfig('f', '{"auths":{"__proto__":{"auth":"YTpi"}}}');
    assert.equal(logins.size, 0);
  });
});
