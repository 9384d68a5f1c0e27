/** keelson.supervisor.v1.Supervisor: what the daemon needs beyond the Task service. */
import { randomUUID } from 'node:crypto';
import { SupervisorDefinition } from '../../../api/gen/runtime/supervisor.js';
import { implement, type ServiceImplementation } from '../../../lib/rpc/definition.js';
import type { Supervisor } from './supervisor.js';

export function controlService(supervisor: Supervisor): ServiceImplementation {
  const instance = randomUUID();
  return implement(SupervisorDefinition, {
    async describe() {
      const processes = [...supervisor.tasks].flatMap((task) => [...task.processes].map(({ record }) => record));
      return { pid: process.pid, instance, processes, undelivered: supervisor.events.undelivered };
    },
    async nextEvents(request, call) {
      if (request.instance === instance) supervisor.events.confirm(request.after);
      return { events: await supervisor.events.next(call.signal) };
    },
    watch: (_request, call) => supervisor.events.watch(call.signal),
  });
}
