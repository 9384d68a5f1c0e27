/** The test harness, also for authors of plugins outside the tree. */
export * from './command.js';
export * from './ctr.js';
export * from './daemon.js';
export * from './eventually.js';
export * from './images.js';
export * from './kernel.js';
export * from './layout.js';
export * from './leaks.js';
export * from './memory.js';
export * from './memory-sandboxes.js';
export * from './memory-store.js';
export * from './registry.js';
export * from './scratch.js';
