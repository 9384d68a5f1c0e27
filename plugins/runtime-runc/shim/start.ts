/** `containerd-shim-keelson-v1 start`: makes sure that a supervisor serves, and tells where. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../../../kernel/errors.js';
import { launchSupervisor } from '../../../lib/supervisor/launch.js';
import { TtrpcClient } from '../../../lib/ttrpc/client.js';
import { makePlace, type ShimPlace } from './place.js';

/** Starts of several containers may come at once: of the supervisors they start, all but one find the place taken. */
const ATTEMPTS = 3;

async function serves({ socket }: ShimPlace): Promise<boolean> {
  try {
    (await TtrpcClient.connect(socket)).close();
    return true;
  } catch (error) {
    if (hasCode(error, 'UNAVAILABLE')) return false;
    throw error;
  }
}

async function ensureSupervisor(place: ShimPlace): Promise<void> {
  makePlace(place);
  for (let attempt = 1; !(await serves(place)); attempt++) {
    try {
      await launchSupervisor(place.directory, place.settings);
    } catch (error) {
      if (attempt === ATTEMPTS || !hasCode(error, 'UNAVAILABLE')) throw error;
    }
  }
}

/**
 * The address to print. Plain text means version 2 of the Task service over
 * ttrpc, which every containerd since 1.2 understands, whatever else it does.
 */
export async function startShim(place: ShimPlace, bundle: string): Promise<string> {
  await ensureSupervisor(place);
  const address = `unix://${place.socket}`;
  writeFileSync(join(bundle, 'address'), address, { mode: 0o600 });
  return address;
}
