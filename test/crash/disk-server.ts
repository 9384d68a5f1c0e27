/**
 * A disk of one file, served to the kernel by FUSE (linux/fuse.h, fuse(4)): what is written goes to an image at
 * once, as into a disk's cache, and into a log, with the flushes between. A worker thread that blocks in read(2).
 */
import { openSync, readSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { z } from 'zod';

/** Opcodes of the requests that are answered; every other one is ENOSYS. */
const LOOKUP = 1;
const FORGET = 2;
const GETATTR = 3;
const SETATTR = 4;
const OPEN = 14;
const READ = 15;
const WRITE = 16;
const RELEASE = 18;
const FSYNC = 20;
const FLUSH = 25;
const INIT = 26;
const BATCH_FORGET = 42;

const ENOENT = -2;
const ENOSYS = -38;

const HEADER = 40;
const REPLY = 16;
const ATTRIBUTES = 88;
const MAX_WRITE = 1 << 20;

const ROOT_NODE = 1n;
const DISK_NODE = 2n;
const DIRECTORY = 0o40755;
const FILE = 0o100600;

/** A flush in the log: a record without bytes. */
const FLUSHED = 0xffff_ffff_ffff_ffffn;

const Settings = z.object({ device: z.number(), image: z.string(), log: z.string(), size: z.number() });

const { device, image, log, size } = Settings.parse(workerData);
const disk = openSync(image, 'r+');
const history = openSync(log, 'a');

function attributes(node: bigint): Buffer {
  const bytes = Buffer.alloc(ATTRIBUTES);
  const isDisk = node === DISK_NODE;
  bytes.writeBigUInt64LE(node, 0);
  bytes.writeBigUInt64LE(BigInt(isDisk ? size : 0), 8);
  bytes.writeBigUInt64LE(BigInt(isDisk ? size / 512 : 0), 16);
  bytes.writeUInt32LE(isDisk ? FILE : DIRECTORY, 60);
  bytes.writeUInt32LE(1, 64);
  bytes.writeUInt32LE(4096, 80);
  return bytes;
}

function init(): Buffer {
  const answer = Buffer.alloc(64);
  const [MAJOR, MINOR, READAHEAD] = [7, 31, 1 << 17];
  const [BIG_WRITES, MAX_PAGES] = [1 << 5, 1 << 22];
  answer.writeUInt32LE(MAJOR, 0);
  answer.writeUInt32LE(MINOR, 4);
  answer.writeUInt32LE(READAHEAD, 8);
  answer.writeUInt32LE(BIG_WRITES | MAX_PAGES, 12);
  answer.writeUInt16LE(32, 16);
  answer.writeUInt16LE(24, 18);
  answer.writeUInt32LE(MAX_WRITE, 20);
  answer.writeUInt32LE(1, 24);
  answer.writeUInt16LE(MAX_WRITE / 4096, 28);
  return answer;
}

function record(offset: bigint, data: Buffer): void {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(offset, 0);
  head.writeUInt32LE(data.length, 8);
  writeSync(history, Buffer.concat([head, data]));
}

function write(body: Buffer): Buffer {
  const offset = body.readBigUInt64LE(8);
  const data = body.subarray(40, 40 + body.readUInt32LE(16));
  record(offset, data);
  writeSync(disk, data, 0, data.length, Number(offset));
  const answer = Buffer.alloc(8);
  answer.writeUInt32LE(data.length, 0);
  return answer;
}

function read(body: Buffer): Buffer {
  const answer = Buffer.alloc(body.readUInt32LE(16));
  return answer.subarray(0, readSync(disk, answer, 0, answer.length, Number(body.readBigUInt64LE(8))));
}

function lookup(body: Buffer): Buffer | number {
  if (body.toString('latin1', 0, body.indexOf(0)) !== 'disk') return ENOENT;
  const entry = Buffer.alloc(40);
  entry.writeBigUInt64LE(DISK_NODE, 0);
  entry.writeBigUInt64LE(3600n, 16);
  entry.writeBigUInt64LE(3600n, 24);
  return Buffer.concat([entry, attributes(DISK_NODE)]);
}

function getattr(node: bigint): Buffer {
  const valid = Buffer.alloc(16);
  valid.writeBigUInt64LE(3600n, 0);
  return Buffer.concat([valid, attributes(node)]);
}

/** The answer's body, or an error number; undefined where none is wanted. */
function answer(opcode: number, node: bigint, body: Buffer): Buffer | number | undefined {
  switch (opcode) {
    case INIT:
      return init();
    case LOOKUP:
      return node === ROOT_NODE ? lookup(body) : ENOENT;
    case GETATTR:
    case SETATTR:
      return getattr(node);
    case OPEN:
      return Buffer.alloc(16);
    case READ:
      return read(body);
    case WRITE:
      return write(body);
    case FSYNC:
      record(FLUSHED, Buffer.alloc(0));
      return Buffer.alloc(0);
    case FLUSH:
    case RELEASE:
      return Buffer.alloc(0);
    case FORGET:
    case BATCH_FORGET:
      return undefined;
    default:
      return ENOSYS;
  }
}

function reply(unique: bigint, result: Buffer | number): void {
  const body = typeof result === 'number' ? Buffer.alloc(0) : result;
  const head = Buffer.alloc(REPLY);
  head.writeUInt32LE(REPLY + body.length, 0);
  head.writeInt32LE(typeof result === 'number' ? result : 0, 4);
  head.writeBigUInt64LE(unique, 8);
  writeSync(device, Buffer.concat([head, body]));
}

const isUnmounted = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENODEV';

const request = Buffer.alloc(MAX_WRITE + 8192);
try {
  for (;;) {
    const length = readSync(device, request);
    const unique = request.readBigUInt64LE(8);
    const result = answer(request.readUInt32LE(4), request.readBigUInt64LE(16), request.subarray(HEADER, length));
    if (result !== undefined) reply(unique, result);
  }
} catch (error) {
  if (!isUnmounted(error)) throw error;
}
