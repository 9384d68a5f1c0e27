import { ContentDefinition } from '../../api/content.js';
import type { Info, Status } from '../../api/gen/services/content.js';
import { Content, type ContentInfo, type IngestStatus } from '../../kernel/contracts/content.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { inChunks } from '../../lib/rpc/chunks.js';
import { implement } from '../../lib/rpc/definition.js';
import { toInt64 } from '../../lib/rpc/int64.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { download } from './download.js';
import { upload } from './upload.js';

const toInfoMessage = ({ digest, size, createdAt, updatedAt, labels }: ContentInfo): Info => ({
  digest,
  size: toInt64(size, `size of "${digest}"`),
  createdAt: toTimestamp(createdAt),
  updatedAt: toTimestamp(updatedAt),
  labels: { ...labels },
});

const toStatusMessage = ({ ref, offset, total, expected, startedAt, updatedAt }: IngestStatus): Status => ({
  ref,
  offset: toInt64(offset, `offset of ref "${ref}"`),
  total: toInt64(total, `total of ref "${ref}"`),
  expected,
  startedAt: toTimestamp(startedAt),
  updatedAt: toTimestamp(updatedAt),
});

/** containerd.services.content.v1.Content over the contract `Content`. */
export const plugin = definePlugin({
  id: 'content-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'content' },
  config: noSettings,
  requires: { content: Content },
  provides: { service: GrpcServices },
  async start({ deps: { content } }) {
    const service = implement(ContentDefinition, {
      async info({ digest }, call) {
        return { info: toInfoMessage(await content.info(call.scope(), digest)) };
      },
      async update({ info, updateMask }, call) {
        const { digest = '', labels = {} } = info ?? {};
        return { info: toInfoMessage(await content.update(call.scope(), digest, labels, updateMask)) };
      },
      async *list({ filters }, call) {
        for await (const infos of inChunks(content.walk(call.scope(), filters)))
          yield { info: infos.map(toInfoMessage) };
      },
      async delete({ digest }, call) {
        await content.delete(call.scope(), digest);
        return {};
      },
      read: (request, call) => download(content, call.scope(), request),
      async status({ ref }, call) {
        return { status: toStatusMessage(await content.status(call.scope(), ref)) };
      },
      async listStatuses({ filters }, call) {
        return { statuses: (await content.statuses(call.scope(), filters)).map(toStatusMessage) };
      },
      write: (requests, call) => upload(content, call.scope(), requests),
      async abort({ ref }, call) {
        await content.abort(call.scope(), ref);
        return {};
      },
    });
    return { service };
  },
});
