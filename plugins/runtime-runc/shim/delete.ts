/** `containerd-shim-keelson-v1 delete`: containerd has given a task up, and wants whatever is left of it gone. */
import { basename, dirname, join } from 'node:path';
import { DeleteResponse, TaskDefinition } from '../../../api/gen/runtime/task-v3.js';
import { hasCode } from '../../../kernel/errors.js';
import { now, toTimestamp } from '../../../lib/rpc/timestamp.js';
import { TtrpcClient } from '../../../lib/ttrpc/client.js';
import { scopeMetadata } from '../../../lib/ttrpc/metadata.js';
import { parseOptions } from '../options.js';
import { readRecord } from '../records.js';
import { discardContainer } from '../supervisor/discard.js';
import { OciRuntime } from '../supervisor/oci-runtime.js';
import { Reaper } from '../supervisor/reaper.js';
import type { ShimPlace } from './place.js';

const SIGKILL = 9;
/** Milliseconds. */
const CALL_DEADLINE = 4000;

/** What containerd takes a task for that had to be cleaned up after. */
const KILLED = 137;

/** Has the supervisor kill and delete the task; false when there is no supervisor, or it knows no such task. */
async function deleteThroughSupervisor(place: ShimPlace, id: string): Promise<boolean> {
  const options = { metadata: scopeMetadata(place), timeout: CALL_DEADLINE };
  let client: TtrpcClient;
  try {
    client = await TtrpcClient.connect(place.socket);
  } catch (error) {
    if (hasCode(error, 'UNAVAILABLE')) return false;
    throw error;
  }
  try {
    const task = client.stub(TaskDefinition);
    await task.kill({ id, execId: '', signal: SIGKILL, all: true }, options).catch((error: unknown) => {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    });
    await task.wait({ id, execId: '' }, options);
    await task.delete({ id, execId: '' }, options);
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  } finally {
    client.close();
  }
}

/** Removes what is left of a task and says how it ended, as containerd wants to hear it. */
export async function deleteTask(place: ShimPlace, id: string, bundle: string): Promise<Uint8Array> {
  const record = readRecord(bundle, '');
  const deleted = record !== undefined && (await deleteThroughSupervisor(place, id));
  if (record !== undefined && !deleted) {
    const { root, binaryName, systemdCgroup } = parseOptions(record.task?.options);
    const runtime = new OciRuntime(
      {
        binary: binaryName || place.settings.binary,
        root: join(root || place.settings.runtimeRoot, place.namespace),
        systemdCgroup,
        deadline: place.settings.deadline,
      },
      new Reaper(),
    );
    await discardContainer({ id: basename(bundle), bundle: join(dirname(bundle), basename(bundle)), runtime });
  }
  const exit = record?.exit;
  return DeleteResponse.encode({
    pid: record?.pid ?? 0,
    exitStatus: exit?.status ?? KILLED,
    exitedAt: exit?.at ?? toTimestamp(now()),
  }).finish();
}
