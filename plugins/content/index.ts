import { ContentStore } from '../../kernel/contracts/content.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { LocalStore } from './store.js';

/** Blobs and ingests in a local directory. */
export const plugin = definePlugin({
  id: 'content',
  api: 1,
  wire: { type: 'io.containerd.content.v1', id: 'content' },
  config: noSettings,
  requires: {},
  provides: { store: ContentStore },
  async start({ rootDir, advertise, onStop }) {
    const root = rootDir();
    advertise({ exports: { root } });
    const store = await LocalStore.open(root);
    onStop(() => store.close());
    return { store };
  },
});
