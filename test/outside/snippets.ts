/** The code blocks of the guide for plugin authors. None escapes: what is neither compiled, run nor checked must say `text`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const LANGUAGES = ['ts', 'sh', 'toml', 'text'] as const;
export type Language = (typeof LANGUAGES)[number];

export interface Snippet {
  readonly language: Language;
  /** Of the first line inside the block. */
  readonly line: number;
  /** The file that it is, by a comment in its first line; `block-LINE.ts` without one. */
  readonly file: string;
  readonly text: string;
}

export interface Page {
  /** Below the directory of the guide: `contracts/content.md`. */
  readonly path: string;
  readonly text: string;
  readonly snippets: readonly Snippet[];
}

const isLanguage = (word: string): word is Language => LANGUAGES.some((language) => language === word);

const NAMED = /^(?:\/\/|#) ([\w./-]+\.(?:ts|toml))$/;

function snippetOf(language: Language, line: number, lines: readonly string[]): Snippet {
  const file = NAMED.exec(lines[0] ?? '')?.[1] ?? `block-${line}.${language}`;
  return { language, line, file, text: `${lines.join('\n')}\n` };
}

/** Every block of a page. Throws for one that would not be looked at: another language, none, indented, or without end. */
export function snippetsOf(page: string, text: string): readonly Snippet[] {
  const lines = text.split('\n');
  const snippets: Snippet[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const refuse = (why: string): never => {
      throw new Error(`${page}:${at + 1}: ${why}: ${line}`);
    };
    if (/^\s+(```|~~~)|^~~~|^ {4}|^\t/.test(line)) refuse('an indented block, or one between ~~~');
    if (!line.startsWith('```')) continue;
    const language = line.slice(3);
    if (!isLanguage(language)) return refuse(`a block must be one of ${LANGUAGES.join(', ')}`);
    const end = lines.indexOf('```', at + 1);
    if (end < 0) refuse('a block without end');
    snippets.push(snippetOf(language, at + 2, lines.slice(at + 1, end)));
    at = end;
  }
  return snippets;
}

/** Every page below a directory, in order of their paths. */
export async function pagesBelow(directory: string): Promise<readonly Page[]> {
  const files = (await readdir(directory, { recursive: true })).filter((path) => path.endsWith('.md')).sort();
  return Promise.all(
    files.map(async (path) => {
      const text = await readFile(join(directory, path), 'utf8');
      return { path, text, snippets: snippetsOf(path, text) };
    }),
  );
}
