/** Pulls until it is killed: `pull.js DIRECTORY REFERENCE SNAPSHOTTER`. */
import { Distribution } from '../../kernel/contracts/distribution.js';
import { startTestKernel } from '../harness/kernel.js';

/** What a pull needs, and nothing else. */
export const PULL_PLUGINS = [
  'content',
  'diff',
  'differs',
  'distribution',
  'events',
  'metadata',
  'snapshot-overlay',
  'snapshot-vfs',
];

const [, program = '', directory = '', reference = '', snapshotter = ''] = process.argv;
if (program === import.meta.filename) {
  const kernel = await startTestKernel({
    plugins: PULL_PLUGINS,
    config: { distribution: { hosts_directories: [] } },
    directory,
  });
  await kernel.get(Distribution).pull({ namespace: 'default' }, reference, { unpack: [{ snapshotter }] });
}
