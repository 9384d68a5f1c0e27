/** How an image wants to be run: the `config` object of its configuration (OCI image-spec, config.md). Hostile input. */
import { z } from 'zod';
import { invalidArgument } from '../../kernel/errors.js';

const strings = z
  .array(z.string())
  .nullish()
  .transform((list) => list ?? []);

const schema = z.object({
  config: z
    .object({
      User: z.string().nullish(),
      Env: strings,
      Entrypoint: strings,
      Cmd: strings,
      WorkingDir: z.string().nullish(),
      StopSignal: z.string().nullish(),
    })
    .nullish(),
});

export interface ImageProcess {
  /** `name`, `uid`, `name:group` ...; empty means root. */
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** Empty means `/`. */
  readonly workingDir: string;
  /** Empty means SIGTERM. */
  readonly stopSignal: string;
}

/** Reads the configuration's bytes. INVALID_ARGUMENT, naming the configuration, when it is not what it should be. */
export function parseImageProcess(digest: string, bytes: Uint8Array): ImageProcess {
  const { config } = parse(digest, bytes);
  const env = config?.Env ?? [];
  if (env.some((entry) => entry.includes('\0'))) {
    throw invalidArgument(`configuration "${digest}" has a NUL character in its environment`);
  }
  return {
    user: config?.User ?? '',
    env,
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
    workingDir: config?.WorkingDir ?? '',
    stopSignal: config?.StopSignal ?? '',
  };
}

function parse(digest: string, bytes: Uint8Array): z.output<typeof schema> {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw invalidArgument(`configuration "${digest}" does not say how to run the image`, { cause });
  }
}

/** The command line: what the caller gave replaces `Cmd`, never the entry point. */
export const commandLine = ({ entrypoint, cmd }: ImageProcess, args: readonly string[]): readonly string[] => [
  ...entrypoint,
  ...(args.length > 0 ? args : cmd),
];
