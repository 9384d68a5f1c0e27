/** YAML files; apart, since few daemons have one and the parser is large. */
import { parseDocument } from 'yaml';
import { invalidArgument } from '../kernel/errors.js';

/** INVALID_ARGUMENT, as `file:line:column: ...`, for text that is not YAML. Undefined or null for a file of comments. */
export function readYaml(file: string, text: string): unknown {
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error === undefined) return document.toJS();
  const [start] = error.linePos ?? [];
  const [sentence] = error.message.split(/ at line \d+/);
  const place = `${file}:${start?.line ?? 1}:${start?.col ?? 1}`;
  throw invalidArgument(`${place}: invalid YAML: ${sentence}`, { cause: error });
}
