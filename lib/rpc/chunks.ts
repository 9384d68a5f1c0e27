/** Items that fit one message of a list. */
const CHUNK = 100;

/** The items in lists of a size that suits a message; no empty one. */
export async function* inChunks<T>(items: AsyncIterable<T>, size = CHUNK): AsyncGenerator<T[]> {
  let chunk: T[] = [];
  for await (const item of items) {
    chunk.push(item);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
