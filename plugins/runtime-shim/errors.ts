/** What shims answer, in terms of the contract: many have only words where we have a code. */
import { codeOf, type ErrorCode, KeelsonError } from '../../kernel/errors.js';

const MEANINGS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/process already finished|no such process|already finished/i, 'NOT_FOUND'],
  [
    /cannot \w+ (?:in )?(?:a|an) \w+ (?:process|container|task|state)|is not running|not started/i,
    'FAILED_PRECONDITION',
  ],
  [/already exists/i, 'ALREADY_EXISTS'],
  [/invalid signal|invalid argument|unable to parse|unknown stdio scheme/i, 'INVALID_ARGUMENT'],
];

/** The error itself when its code says something; else one whose code is taken from the words. */
export function inContractTerms(error: unknown): unknown {
  if (!(error instanceof Error) || codeOf(error) !== 'INTERNAL') return error;
  const code = MEANINGS.find(([words]) => words.test(error.message))?.[1];
  return code === undefined ? error : new KeelsonError(code, error.message, { cause: error });
}
