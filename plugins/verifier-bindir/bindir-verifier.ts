/**
 * Programs that judge images, one after the other, each with the protocol of
 * containerd's `bindir` verifier (docs/image-verification.md): arguments
 * `-name -digest -stdin-media-type`, the descriptor as JSON on standard input,
 * exit status 0 for yes, and a reason on standard output.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ImageToVerify, ImageVerifier, Judgement } from '../../kernel/contracts/image-verifiers.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { canceled, deadlineExceeded, failedPrecondition, messageOf } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';

export interface BindirOptions {
  readonly bin_dir: string;
  /** -1: any number. */
  readonly max_verifiers: number;
  /** Milliseconds. */
  readonly per_verifier_timeout: number;
}

const MEDIA_TYPE = 'application/vnd.oci.descriptor.v1+json';
/** Bytes of what a program says. */
const MAX_OUTPUT = 32 * 1024;
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

const clean = (output: Buffer): string =>
  output
    .toString('utf8', 0, MAX_OUTPUT)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();

const descriptorJson = ({ mediaType, digest, size, annotations, platform }: Descriptor): Buffer =>
  Buffer.from(JSON.stringify({ mediaType, digest, size, annotations, platform }));

export class BindirVerifier implements ImageVerifier {
  readonly #options: BindirOptions;
  readonly #log: Logger;

  constructor(options: BindirOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  async verify(image: ImageToVerify): Promise<Judgement> {
    const { bin_dir: directory, max_verifiers: most } = this.#options;
    const programs = await this.#programs();
    if (programs.length === 0) return { accepted: true, reason: `no programs in "${directory}"` };
    if (most >= 0 && programs.length > most) {
      // To ask only the first ones would take the silence of the others for a yes.
      throw failedPrecondition(`"${directory}" has ${programs.length} image verifiers, more than ${most}`, {
        remedy: 'remove some or raise max_verifiers',
      });
    }
    const reasons: string[] = [];
    for (const program of programs) {
      const { accepted, reason } = await this.#ask(program, image);
      if (!accepted) return { accepted, reason };
      reasons.push(`${program} => ${reason}`);
    }
    return { accepted: true, reason: reasons.join(', ') };
  }

  async #programs(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#options.bin_dir)).sort();
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async #ask(program: string, { name, target, signal }: ImageToVerify): Promise<Judgement> {
    if (signal.aborted) throw canceled(`the verification of "${name}" was cancelled`, { cause: signal.reason });
    const { exitStatus, late, stdout, stderr } = await this.#run(program, name, target);
    this.#log.debug({ verifier: program, stderr: clean(stderr) }, 'an image verifier has ended');
    if (late) {
      throw deadlineExceeded(`image verifier "${program}" did not end within ${this.#options.per_verifier_timeout} ms`);
    }
    const said = clean(stdout);
    if (exitStatus === 0) return { accepted: true, reason: said };
    return { accepted: false, reason: `verifier ${program} rejected image (exit code ${exitStatus}): ${said}` };
  }

  async #run(program: string, name: string, target: Descriptor) {
    const { bin_dir: cwd, per_verifier_timeout: deadline } = this.#options;
    const args = ['-name', name, '-digest', target.digest, '-stdin-media-type', MEDIA_TYPE];
    // Most daemons have no verifiers, and start faster without.
    const { run } = await import('../../lib/linux/run.js');
    try {
      return await run({
        path: join(cwd, program),
        args,
        env: ENVIRONMENT,
        cwd,
        deadline,
        input: descriptorJson(target),
      });
    } catch (error) {
      throw failedPrecondition(`image verifier "${program}" cannot be run: ${messageOf(error)}`, { cause: error });
    }
  }
}
