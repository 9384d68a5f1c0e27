/** What becomes of containers whose OCI runtime has known escapes: attack 78 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { Options } from '../../api/gen/runtime/runc-options.js';
import { packAny } from '../../lib/rpc/any.js';
import { scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject } from '../../test/harness/runc.js';
import type { EscapePolicyKind } from './escape-policy.js';

const skip = (await runcSubject().unavailable()) ?? false;

/** A workbench with that policy, and what its runtime logs. */
async function open(knownEscapes: EscapePolicyKind) {
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const bench = await Workbench.open(runcSubject({ knownEscapes, log }));
  return {
    bench,
    /** Warnings about a program. */
    about: (path: string): string[] => lines.filter((line) => line.includes(`"${path}"`)),
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

interface FakeVersion {
  readonly path: string;
  /** How often it was asked. */
  asked(): Promise<number>;
}

/** runc that says it is of another version; of none, it fails when it is asked. */
async function runcOf(bench: Workbench, version: string): Promise<FakeVersion> {
  const path = join(bench.work, `runc-${version || 'mute'}`);
  const asked = `${path}.asked`;
  const answer = version === '' ? 'exit 1' : `echo "runc version ${version}"; exit 0`;
  await writeFile(
    path,
    `#!/bin/sh\ncase "$*" in --version) echo asked >>"${asked}"; ${answer};; esac\nexec runc "$@"\n`,
  );
  await chmod(path, 0o755);
  return {
    path,
    asked: async () => (existsSync(asked) ? (await readFile(asked, 'utf8')).split('\n').length - 1 : 0),
  };
}

/** Runs a container to its end by that program. */
async function run(bench: Workbench, { path }: FakeVersion): Promise<void> {
  const id = bench.freshId();
  const options = packAny(Options, Options.fromPartial({ binaryName: path }));
  await bench.runtime.create(scope, { ...bench.request(id, 'exit 4'), options });
  await bench.runtime.start(scope, { id });
  assert.equal((await bench.runtime.wait(scope, { id })).exitStatus, 4);
  await bench.runtime.delete(scope, { id });
}

describe('an OCI runtime with known escapes', { skip }, () => {
  it('is refused, with what to do, where the policy says so; nothing is left, and others go on', async () => {
    await using setup = await open('refuse');
    const { bench, about } = setup;
    const old = await runcOf(bench, '1.2.7');
    for (let i = 0; i < 2; i++) {
      await assert.rejects(run(bench, old), {
        code: 'FAILED_PRECONDITION',
        message: /runc-1\.2\.7" has known escapes \(CVE-2025-31133, CVE-2025-52565, CVE-2025-52881\).*known_escapes/,
      });
    }
    assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
    assert.equal(await old.asked(), 1);
    assert.equal(about(old.path).length, 1);
    const mended = await runcOf(bench, '1.2.8');
    await run(bench, mended);
    await run(bench, await runcOf(bench, '1.4.3'));
    assert.match(about(mended.path).join(), /CVE-2026-41579/, 'what does not let containers out is only told of');
  });

  it('is told of once, and used, where the policy only warns', async () => {
    await using setup = await open('warn');
    const { bench, about } = setup;
    const old = await runcOf(bench, '1.0.0-rc6');
    await run(bench, old);
    await run(bench, old);
    await until('the warning', () => about(old.path).length > 0);
    const [warning = ''] = about(old.path);
    for (const part of ['CVE-2019-5736', 'CVE-2025-52881', '"version":"1.0.0-rc6"', '"level":40']) {
      assert.ok(warning.includes(part), `${part} in ${warning}`);
    }
    assert.equal(about(old.path).length, 1);
    assert.equal(await old.asked(), 1);
    const fresh = await runcOf(bench, '1.5.0');
    await run(bench, fresh);
    await until('it was asked', async () => (await fresh.asked()) === 1);
    assert.deepEqual(about(fresh.path), []);
  });

  it('is not looked for where the policy ignores them', async () => {
    await using setup = await open('ignore');
    const old = await runcOf(setup.bench, '1.0.0-rc6');
    await run(setup.bench, old);
    assert.equal(await old.asked(), 0);
    assert.deepEqual(setup.about(old.path), []);
  });

  it('cannot be known of one that does not tell its version, which is said and used', async () => {
    await using setup = await open('refuse');
    const mute = await runcOf(setup.bench, '');
    await run(setup.bench, mute);
    assert.match(setup.about(mute.path).join(), /version of the OCI runtime is not known/);
  });
});
