/** Events of tasks, in the words of 2017. */
import { type Event, EventType } from '../../api/gen/classic/types.js';
import { TaskCreate, TaskExecAdded, TaskExit, TaskOOM, TaskPaused, TaskStart } from '../../api/gen/events/task.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';

const NOTHING = { pid: 0, exitStatus: 0, exitedAt: undefined };

/** Undefined for what had no word then. */
function translate(event: AnyMessage): Event | undefined {
  if (isAny(TaskExit, event)) {
    const { containerId: id, pid, exitStatus, exitedAt } = unpackAny(TaskExit, event);
    return { id, type: EventType.EXIT, pid, exitStatus, exitedAt };
  }
  if (isAny(TaskCreate, event)) {
    const { containerId: id, pid } = unpackAny(TaskCreate, event);
    return { ...NOTHING, id, type: EventType.CREATE, pid };
  }
  if (isAny(TaskStart, event)) {
    const { containerId: id, pid } = unpackAny(TaskStart, event);
    return { ...NOTHING, id, type: EventType.START, pid };
  }
  if (isAny(TaskOOM, event)) return { ...NOTHING, id: unpackAny(TaskOOM, event).containerId, type: EventType.OOM };
  if (isAny(TaskExecAdded, event))
    return { ...NOTHING, id: unpackAny(TaskExecAdded, event).containerId, type: EventType.EXEC_ADDED };
  if (isAny(TaskPaused, event))
    return { ...NOTHING, id: unpackAny(TaskPaused, event).containerId, type: EventType.PAUSED_EVENT };
  return undefined;
}

/** The subscription stands when this returns. */
export function classicEvents(events: Events, { namespace, signal }: Scope): AsyncIterable<Event> {
  const filter = `namespace==${namespace},topic~="^/tasks/"`;
  const envelopes = events.subscribe([filter], signal ?? new AbortController().signal);
  return (async function* () {
    for await (const { event } of envelopes) {
      const known = translate(event);
      if (known !== undefined) yield known;
    }
  })();
}
