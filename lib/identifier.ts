/** Names that are safe in paths and keys: namespaces, container and sandbox ids. */
import { invalidArgument } from '../kernel/errors.js';

/** Characters; a longer identifier is refused. */
export const MAX_IDENTIFIER = 76;

const PATTERN = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;

/**
 * Returns `value` when it is at most 76 characters of ASCII letters and digits,
 * in groups joined by a single `.`, `_` or `-`; INVALID_ARGUMENT otherwise.
 * `what` names it in the message (`namespace`, `container id`).
 */
export function checkIdentifier(value: string, what: string): string {
  if (value === '') throw invalidArgument(`${what} must not be empty`);
  if (value.length > MAX_IDENTIFIER) {
    throw invalidArgument(
      `${what} "${value.slice(0, MAX_IDENTIFIER)}..." is ${value.length} characters long, more than ${MAX_IDENTIFIER}`,
    );
  }
  if (!PATTERN.test(value)) {
    throw invalidArgument(`${what} "${value}" must be letters and digits, in groups joined by one of ". _ -"`);
  }
  return value;
}
