/** Memory of the C library: malloc_trim(3). */
import { libc } from './libc.js';

const mallocTrim = libc.func('malloc_trim', 'int', ['size_t']);

/** Gives freed memory back to the kernel, which the allocator would keep for what comes next. */
export const trimMemory = (): void => {
  mallocTrim(0);
};
