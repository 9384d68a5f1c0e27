/** Files that the kernel writes while they are read: those of /proc and of control groups. */
import { readFileSync } from 'node:fs';

/**
 * The text of the file. Decoded here and not by `readFileSync`: Node 26.10
 * asked for text overruns its buffer, and ends in `free(): invalid size`, when
 * a file without a size yields first little and then more than 8 KiB at once,
 * as mountinfo does on a host with one mount of long options.
 */
export const readKernelFile = (path: string): string => readFileSync(path).toString('utf8');
