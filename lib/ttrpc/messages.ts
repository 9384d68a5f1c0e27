/** The two messages of ttrpc: `ttrpc.Request` and `ttrpc.Response` (request.proto of containerd/ttrpc). */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { WireStatus } from '../rpc/status.js';

export interface Request {
  /** Full name of the service. */
  readonly service: string;
  readonly method: string;
  readonly payload: Uint8Array;
  /** Nanoseconds the caller waits; 0 for no limit. */
  readonly timeoutNano: bigint;
  /** In order; a key may occur more than once. */
  readonly metadata: readonly (readonly [key: string, value: string])[];
}

export interface Response {
  /** Absent: success. */
  readonly status?: WireStatus;
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array();

const bytesTag = (field: number): [number, WireType] => [field, WireType.LengthDelimited];

/** Calls `read` for each field; what it does not take is skipped. */
function eachField(bytes: Uint8Array, read: (field: number, wire: WireType, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (!read(field, wire, reader)) reader.skip(wire, field);
  }
}

function encodePair([key, value]: readonly [string, string]): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(...bytesTag(1)).string(key);
  writer.tag(...bytesTag(2)).string(value);
  return writer.finish();
}

function decodePair(bytes: Uint8Array): readonly [string, string] {
  let key = '';
  let value = '';
  eachField(bytes, (field, wire, reader) => {
    if (wire !== WireType.LengthDelimited || (field !== 1 && field !== 2)) return false;
    if (field === 1) key = reader.string();
    else value = reader.string();
    return true;
  });
  return [key, value];
}

export function encodeRequest({ service, method, payload, timeoutNano, metadata }: Request): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(...bytesTag(1)).string(service);
  writer.tag(...bytesTag(2)).string(method);
  if (payload.length > 0) writer.tag(...bytesTag(3)).bytes(payload);
  if (timeoutNano !== 0n) writer.tag(4, WireType.Varint).int64(timeoutNano);
  for (const pair of metadata) writer.tag(...bytesTag(5)).bytes(encodePair(pair));
  return writer.finish();
}

/** Throws when the bytes are no such message. */
export function decodeRequest(bytes: Uint8Array): Request {
  let service = '';
  let method = '';
  let payload: Uint8Array = EMPTY;
  let timeoutNano = 0n;
  const metadata: (readonly [string, string])[] = [];
  eachField(bytes, (field, wire, reader) => {
    if (field === 4 && wire === WireType.Varint) {
      timeoutNano = BigInt(reader.int64());
      return true;
    }
    if (wire !== WireType.LengthDelimited || field < 1 || field > 5) return false;
    if (field === 1) service = reader.string();
    else if (field === 2) method = reader.string();
    else if (field === 3) payload = reader.bytes();
    else if (field === 5) metadata.push(decodePair(reader.bytes()));
    else return false;
    return true;
  });
  return { service, method, payload, timeoutNano, metadata };
}

/** google.rpc.Status; its details are not used. */
function encodeStatus({ code, message }: WireStatus): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(code);
  writer.tag(...bytesTag(2)).string(message);
  return writer.finish();
}

function decodeStatus(bytes: Uint8Array): WireStatus {
  let code = 0;
  let message = '';
  eachField(bytes, (field, wire, reader) => {
    if (field === 1 && wire === WireType.Varint) code = reader.int32();
    else if (field === 2 && wire === WireType.LengthDelimited) message = reader.string();
    else return false;
    return true;
  });
  return { code, message };
}

export function encodeResponse({ status, payload }: Response): Uint8Array {
  const writer = new BinaryWriter();
  if (status !== undefined) writer.tag(...bytesTag(1)).bytes(encodeStatus(status));
  if (payload.length > 0) writer.tag(...bytesTag(2)).bytes(payload);
  return writer.finish();
}

/** Throws when the bytes are no such message. */
export function decodeResponse(bytes: Uint8Array): Response {
  let status: WireStatus | undefined;
  let payload: Uint8Array = EMPTY;
  eachField(bytes, (field, wire, reader) => {
    if (wire !== WireType.LengthDelimited) return false;
    if (field === 1) status = decodeStatus(reader.bytes());
    else if (field === 2) payload = reader.bytes();
    else return false;
    return true;
  });
  return status === undefined ? { payload } : { status, payload };
}
