import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { rootCertificates } from 'node:tls';

const MODULE = new URL('./trust.js', import.meta.url).href;
const PROGRAM = `import { trustedAuthorities } from '${MODULE}'; process.stdout.write(JSON.stringify(trustedAuthorities()));`;

test("the runtime's own authorities are trusted as the launchers start it, too, where they are no default", () => {
  const flags = ['--use-openssl-ca', '--input-type=module', '--eval', PROGRAM];
  const printed = execFileSync(process.execPath, flags, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const trusted: unknown = JSON.parse(printed);
  assert.ok(Array.isArray(trusted));
  const missing = rootCertificates.filter((certificate) => !trusted.includes(certificate));
  assert.equal(missing.length, 0);
  assert.ok(rootCertificates.length > 0);
});
