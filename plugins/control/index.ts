import { ControlDefinition } from '../../api/gen/services/control.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Reloaders } from '../../kernel/contracts/reloader.js';
import { failedPrecondition } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';

/** What an operator asks of the running daemon: `keelson reload`. */
export const plugin = definePlugin({
  id: 'control',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'control' },
  config: noSettings,
  requires: { reloaders: Reloaders },
  provides: { service: GrpcServices },
  async start({ deps }) {
    const reload = async () => {
      const [reloader] = deps.reloaders.values();
      if (reloader === undefined) throw failedPrecondition('this daemon has no configuration that could be read again');
      const { stopped, started, problems } = await reloader.reload();
      return { stopped: [...stopped], started: [...started], problems: [...problems] };
    };
    return { service: implement(ControlDefinition, { reload }) };
  },
});
