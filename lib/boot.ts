import { readKernelFile } from './linux/kernel-file.js';

/**
 * Which boot of the machine this is (random(4), `boot_id`). A test that plays
 * a power cut without rebooting says so by `KEELSON_TEST_BOOT_ID`.
 */
export const bootId = (): string =>
  process.env.KEELSON_TEST_BOOT_ID ?? readKernelFile('/proc/sys/kernel/random/boot_id').trim();
