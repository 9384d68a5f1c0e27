import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { TaskDefinition } from '../../api/gen/runtime/task-v2.js';
import { TaskDefinition as TaskV3Definition } from '../../api/gen/runtime/task-v3.js';
import { hasCode } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { holdFifo, makeFifo } from '../linux/fifo.js';
import { TtrpcClient } from './client.js';
import { NAMESPACE_KEY } from './metadata.js';

const SHIM = '/usr/bin/containerd-shim-runc-v2';

describe('ttrpc against the stock shim', () => {
  it('connects, calls and gets its errors', async () => {
    await using directory = await scratch('stock-shim');
    const id = `t${process.pid}`;
    await writeFile(join(directory.path, 'config.json'), '{"ociVersion":"1.0.2","root":{"path":"rootfs"}}');
    makeFifo(join(directory.path, 'log'));
    const log = holdFifo(join(directory.path, 'log'));
    const flags = ['-namespace', 'test', '-id', id, '-address', join(directory.path, 'none.sock')];
    const options = { cwd: directory.path, env: { ...process.env, TTRPC_ADDRESS: join(directory.path, 'none.ttrpc') } };
    const starting = promisify(execFile)(SHIM, [...flags, 'start'], options);
    // It reads options from its standard input until the end.
    starting.child.stdin?.end();
    const { stdout } = await starting;
    const client = await TtrpcClient.connect(stdout.trim().replace(/^unix:\/\//, ''));
    try {
      const task = client.stub(TaskDefinition);
      const metadata = { [NAMESPACE_KEY]: 'test' };
      const { shimPid } = await task.connect({ id }, { metadata, timeout: 5000 });
      assert.ok(shimPid > 1);
      await assert.rejects(task.state({ id, execId: '' }, { metadata, timeout: 5000 }), { code: 'NOT_FOUND' });
      await assert.rejects(client.stub(TaskV3Definition).connect({ id }, { metadata }), { code: 'UNIMPLEMENTED' });
      const shutdown = task.shutdown({ id, now: false }, { metadata, timeout: 5000 });
      // It may end before its answer is out.
      await shutdown.catch((error: unknown) => assert.ok(hasCode(error, 'UNAVAILABLE'), String(error)));
      await client.ended;
    } finally {
      client.close();
      closeSync(log);
      await promisify(execFile)(SHIM, [...flags, '-bundle', directory.path, 'delete'], options).catch(() => {});
    }
  });
});
