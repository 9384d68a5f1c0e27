/** Labels: the rules that every labelled object shares. */
import { invalidArgument } from '../kernel/errors.js';

type Labels = Readonly<Record<string, string>>;

/** Bytes a key and its value may take together. */
export const MAX_LABEL = 4096;

const SHOWN_KEY = 64;

/** The value of a label, or undefined; never something inherited from a prototype. */
export const labelOf = (labels: Labels, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

/** INVALID_ARGUMENT when a key and its value together take more than {@link MAX_LABEL} bytes. */
export function checkLabels(labels: Labels): void {
  for (const [key, value] of Object.entries(labels)) {
    const size = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (size <= MAX_LABEL) continue;
    throw invalidArgument(
      `label "${key.slice(0, SHOWN_KEY)}" and its value take ${size} bytes, more than the ${MAX_LABEL} allowed`,
    );
  }
}

/** Labels as they are kept: an empty value means that there is no such label. */
export const withoutEmpty = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));

/** `labels` with one of them set; an empty value deletes it. */
export const withLabel = (labels: Labels, key: string, value: string): Labels =>
  withoutEmpty({ ...labels, [key]: value });

/**
 * Applies the mask path `<field>` (all replaced) or `<field>.KEY` (one replaced)
 * to a map of labels; undefined when the path is about something else.
 */
export function applyMapMask(field: string, path: string, current: Labels, incoming: Labels): Labels | undefined {
  if (path === field) return withoutEmpty(incoming);
  if (!path.startsWith(`${field}.`)) return undefined;
  const key = path.slice(field.length + 1);
  return withLabel(current, key, labelOf(incoming, key) ?? '');
}

/**
 * The labels after an update of an object whose only mutable field they are.
 * No mask replaces them all; INVALID_ARGUMENT for a path other than `labels`
 * and `labels.KEY`, or for a label that is too long. `object` names it in the message.
 */
export function updateLabels(
  object: string,
  current: Labels,
  incoming: Labels,
  mask: readonly string[] | undefined,
): Labels {
  const paths = mask && mask.length > 0 ? mask : ['labels'];
  let labels = current;
  for (const path of paths) {
    const next = applyMapMask('labels', path, labels, incoming);
    if (!next) throw invalidArgument(`cannot update field "${path}" of ${object}: only "labels" and "labels.KEY"`);
    labels = next;
  }
  checkLabels(labels);
  return labels;
}
