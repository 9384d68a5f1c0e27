/** One configuration file: parsed by its extension, with the places of its keys found only when asked for. */
import { extname } from 'node:path';
import { parse as parseToml, TomlError } from 'smol-toml';
import type { KeyPath } from '../kernel/config.js';
import { invalidArgument, type KeelsonError, messageOf } from '../kernel/errors.js';
import type { Places } from './places.js';
import type { Positioned } from './tree.js';

/** In order of preference where several files exist. */
export const FORMATS = ['toml', 'yaml', 'yml', 'json'] as const;
export type Format = (typeof FORMATS)[number];

/** INVALID_ARGUMENT for a file that is of none of the formats; code is none. */
export function formatOf(file: string): Format {
  const format = FORMATS.find((name) => extname(file) === `.${name}`);
  if (format !== undefined) return format;
  const remedy = `name it with ${FORMATS.map((name) => `.${name}`).join(', ')} after what it holds`;
  throw invalidArgument(`configuration file "${file}" is of no known format`, { remedy });
}

const broken = (place: string, problem: string, cause: unknown): KeelsonError =>
  invalidArgument(`${place}: ${problem}`, { cause });

function readToml(file: string, text: string): unknown {
  try {
    return parseToml(text, { integersAsBigInt: 'asNeeded' });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [sentence] = error.message.split('\n');
    throw broken(`${file}:${error.line}:${error.column}`, sentence ?? 'invalid TOML', error);
  }
}

function readJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const [, sentence = '', line = '1', column = '1'] =
      /^(.*?)(?: in JSON at position \d+)?(?: \(line (\d+) column (\d+)\))?$/s.exec(messageOf(error)) ?? [];
    throw broken(`${file}:${line}:${column}`, `invalid JSON: ${sentence}`, error);
  }
}

const readYaml = async (file: string, text: string): Promise<unknown> =>
  (await import('./yaml.js')).readYaml(file, text);

export class Document implements Positioned {
  readonly name: string;
  readonly #format: Format;
  readonly #text: string;
  #places: Promise<Places> | undefined;

  private constructor(name: string, text: string) {
    this.name = name;
    this.#format = formatOf(name);
    this.#text = text;
  }

  /** INVALID_ARGUMENT, as `file:line:column: ...`, for text that breaks its format's grammar. */
  static async parse(file: string, text: string): Promise<{ readonly document: Document; readonly value: unknown }> {
    const plain = text.replace(/^\uFEFF/, '');
    const document = new Document(file, plain);
    if (plain.trim() === '') return { document, value: {} };
    const read = { toml: readToml, json: readJson, yaml: readYaml, yml: readYaml }[document.#format];
    // A YAML file of comments alone holds nothing.
    return { document, value: (await read(file, plain)) ?? {} };
  }

  async position(path: KeyPath, at: 'key' | 'value'): Promise<string> {
    this.#places ??= import('./places.js').then(({ findPlaces }) => findPlaces(this.#format, this.#text));
    const places = await this.#places;
    for (let length = path.length; length > 0; length--) {
      const place = places.get(JSON.stringify(path.slice(0, length)));
      // Of a key that is not there itself, the table around it is the place.
      const start = length === path.length ? place?.[at] : place?.key;
      if (start !== undefined) return `${this.name}:${start.line}:${start.column}`;
    }
    return `${this.name}:1:1`;
  }
}
