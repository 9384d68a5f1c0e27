import { ImageCreate, ImageDelete, ImageUpdate } from '../../api/gen/events/image.js';
import type { DeleteImage, Image, Images, NewImage } from '../../kernel/contracts/images.js';
import type { Descriptor, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { parseDigest } from '../../lib/digest.js';
import { compileFilters, type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';
import { applyMapMask, checkLabels, labelOf, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { integer, type Row, size, stringMap, text } from '../../lib/sqlite/row.js';
import { type Core, checkName, namespaceOf, touchNamespace } from './core.js';
import { EXPIRE, expiryOf } from './gc-labels.js';
import { leaseIt, unleaseIt } from './lease-resources.js';
import { identity, imageNode } from './node.js';

const toImage = (row: Row): Image => ({
  name: text(row, 'name'),
  labels: stringMap(row, 'labels'),
  target: {
    mediaType: text(row, 'media_type'),
    digest: text(row, 'digest'),
    size: size(row, 'size'),
    annotations: stringMap(row, 'annotations'),
  },
  createdAt: integer(row, 'created'),
  updatedAt: integer(row, 'updated'),
});

const fieldsOf =
  ({ name, target, labels }: Image): Fields =>
  ([first, ...rest]) => {
    switch (first) {
      case 'name':
        return nonEmpty(name);
      case 'target':
        if (rest[0] === 'digest') return nonEmpty(target.digest);
        return rest[0] === 'mediatype' ? nonEmpty(target.mediaType) : undefined;
      case 'labels':
        return mapField(labels, rest);
      case 'annotations':
        return mapField(target.annotations ?? {}, rest);
      default:
        return undefined;
    }
  };

function checkTarget(name: string, { digest, size: bytes, mediaType }: Descriptor): void {
  parseDigest(digest);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw invalidArgument(`image "${name}": target size must be above 0, not ${bytes}`);
  }
  if (mediaType === '') throw invalidArgument(`image "${name}": target media type must be set`);
}

function checkImage({ name, labels, target }: Image): void {
  checkName(name, 'image name');
  checkLabels(labels);
  checkTarget(name, target);
}

function maskImage(current: Image, incoming: NewImage, path: string): Image {
  const labels = applyMapMask('labels', path, current.labels, incoming.labels ?? {});
  if (labels) return { ...current, labels };
  const target = incoming.target;
  const annotations = applyMapMask('annotations', path, current.target.annotations ?? {}, target.annotations ?? {});
  if (annotations) return { ...current, target: { ...current.target, annotations } };
  if (path === 'target') return { ...current, target };
  throw invalidArgument(`cannot update field "${path}" of image "${current.name}"`, {
    remedy: 'use "labels", "labels.KEY", "target", "annotations" or "annotations.KEY"',
  });
}

export class ImageRecords implements Images {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async get(scope: Scope, name: string): Promise<Image> {
    return this.#read(this.#core.database, namespaceOf(scope), name);
  }

  async list(scope: Scope, filters?: readonly string[]): Promise<readonly Image[]> {
    const matches = compileFilters(filters);
    const sql = 'SELECT * FROM images WHERE ns = ? AND name > ? ORDER BY name LIMIT ?';
    const found: Image[] = [];
    for await (const rows of this.#core.pages(sql, 'name', namespaceOf(scope))) {
      found.push(...rows.map(toImage).filter((image) => matches(fieldsOf(image))));
    }
    return found;
  }

  async create(scope: Scope, { name, target, labels = {}, createdAt, updatedAt }: NewImage): Promise<Image> {
    const namespace = namespaceOf(scope);
    const created = createdAt ?? this.#core.clock.wall();
    const image = { name, target, labels: withoutEmpty(labels), createdAt: created, updatedAt: updatedAt ?? created };
    checkImage(image);
    await this.#core.mutate((sql) => {
      if (sql.get('SELECT 1 FROM images WHERE ns = ? AND name = ?', namespace, name)) {
        throw alreadyExists(`image "${name}" already exists`);
      }
      touchNamespace(sql, namespace);
      this.#write(sql, scope, image);
    });
    this.#core.publish(namespace, '/images/create', packAny(ImageCreate, { name, labels: { ...image.labels } }));
    return image;
  }

  async update(scope: Scope, image: NewImage, mask: UpdateMask = []): Promise<Image> {
    const namespace = namespaceOf(scope);
    const { name } = image;
    checkName(name, 'image name');
    const updatedAt = image.updatedAt ?? this.#core.clock.wall();
    const updated = await this.#core.mutate((sql) => {
      const current = this.#read(sql, namespace, name);
      const replaced = { ...current, labels: withoutEmpty(image.labels ?? {}), target: image.target };
      const masked = mask.reduce((changed, path) => maskImage(changed, image, path), current);
      const next = { ...(mask.length === 0 ? replaced : masked), updatedAt };
      checkImage(next);
      this.#write(sql, scope, next);
      return next;
    });
    this.#core.publish(namespace, '/images/update', packAny(ImageUpdate, { name, labels: { ...updated.labels } }));
    return updated;
  }

  async delete(scope: Scope, name: string, { sync = false, target }: DeleteImage = {}): Promise<void> {
    const namespace = namespaceOf(scope);
    await this.#core.remove((sql) => {
      const current = this.#read(sql, namespace, name);
      if (target && target.digest !== '' && target.digest !== current.target.digest) {
        throw notFound(`image "${name}" has target "${current.target.digest}", not "${target.digest}"`);
      }
      unleaseIt(sql, scope, 'images', name);
      sql.run('DELETE FROM images WHERE ns = ? AND name = ?', namespace, name);
    });
    this.#core.expiries.forget(identity(imageNode(namespace, name)));
    this.#core.publish(namespace, '/images/delete', packAny(ImageDelete, { name }));
    if (sync) await this.#core.collect();
  }

  #read(sql: Reader, namespace: string, name: string): Image {
    const row = sql.get('SELECT * FROM images WHERE ns = ? AND name = ?', namespace, name);
    if (!row) throw notFound(`image "${name}" not found`);
    return toImage(row);
  }

  #write(sql: Writer, scope: Scope, { name, labels, target, createdAt, updatedAt }: Image): void {
    const { namespace } = scope;
    const node = imageNode(namespace, name);
    // An image that never expires is a root: no lease need hold it.
    if (labelOf(labels, EXPIRE) !== undefined) leaseIt(this.#core, sql, scope, 'images', name, node);
    const annotations = JSON.stringify(withoutEmpty(target.annotations ?? {}));
    sql.run(
      'INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[namespace, name, JSON.stringify(labels), target.mediaType, target.digest, target.size],
      ...[annotations, createdAt, updatedAt],
    );
    this.#core.touch(node);
    const expires = expiryOf(labels);
    if (expires === undefined) return;
    this.#core.expiresIn(this.#core.expiries.remaining(identity(node), expires, updatedAt));
  }
}
