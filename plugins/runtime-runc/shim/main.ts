/**
 * `containerd-shim-keelson-v1`: makes supervisors usable by stock containerd,
 * as the runtime `io.containerd.keelson.v1`. containerd runs it with a bundle
 * as working directory; what it prints on standard output is the answer.
 */
import { RuntimeInfo } from '../../../api/gen/types/introspection.js';
import { invalidArgument } from '../../../kernel/errors.js';
import { checkIdentifier } from '../../../lib/identifier.js';
import { readFeatures, readVersion } from '../facts.js';
import { findProgram } from '../supervisor/oci-runtime.js';
import { deleteTask } from './delete.js';
import { parseFlags, type ShimFlags } from './flags.js';
import { placeOf } from './place.js';
import { startShim } from './start.js';

const NAME = 'io.containerd.keelson.v1';
const VERSION = '0.1.0';

async function info(): Promise<Uint8Array> {
  const features = await readFeatures(findProgram('runc'));
  const { version, revision } = await readVersion(findProgram('runc'));
  return RuntimeInfo.encode(
    RuntimeInfo.fromPartial({
      name: NAME,
      version: { version: VERSION, revision: '' },
      annotations: { 'runc.version': version, 'runc.revision': revision },
      ...(features && { features: { typeUrl: features.typeUrl, value: features.value } }),
    }),
  ).finish();
}

async function answer(flags: ShimFlags): Promise<string | Uint8Array> {
  if (flags.version) return `${NAME} ${VERSION}\n`;
  if (flags.info) return info();
  const { command, namespace, id, address } = flags;
  checkIdentifier(namespace, 'namespace');
  checkIdentifier(id, 'container id');
  const bundle = flags.bundle || process.cwd();
  const place = placeOf(address, namespace, bundle, process.env.TTRPC_ADDRESS);
  if (command === 'start') return startShim(place, bundle);
  if (command === 'delete') return deleteTask(place, id, bundle);
  throw invalidArgument(`command "${command}" is none of start, delete`);
}

async function main(): Promise<void> {
  try {
    process.stdout.write(await answer(parseFlags(process.argv.slice(2))));
  } catch (error) {
    process.stderr.write(`containerd-shim-keelson-v1: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

void main();
