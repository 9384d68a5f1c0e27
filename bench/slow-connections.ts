/** Stands before a server and lets no connection have more than so many bytes a second, as registries behind a store of objects do. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

export interface SlowConnections extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

/** Passes bytes on no sooner than they are due at that rate. */
function paced(bytesPerSecond: number): Transform {
  let due = performance.now();
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      due = Math.max(due, performance.now() - 50) + (chunk.length / bytesPerSecond) * 1000;
      const wait = due - performance.now();
      if (wait > 1) await delay(wait);
      done(null, chunk);
    },
  });
}

export async function slowConnections(host: string, bytesPerSecond: number): Promise<SlowConnections> {
  const [name = '', port = ''] = host.split(':');
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), name);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    // Either end may leave whenever it likes.
    void Promise.allSettled([pipeline(client, upstream), pipeline(upstream, paced(bytesPerSecond), client)]);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}
