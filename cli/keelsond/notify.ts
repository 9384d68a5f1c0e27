/** Tells systemd, when it asked to be told, how far the daemon is (sd_notify(3)). */
import type { Logger } from 'pino';

export async function notify(state: 'READY=1' | 'RELOADING=1' | 'STOPPING=1', log: Logger): Promise<void> {
  const address = process.env.NOTIFY_SOCKET;
  if (address === undefined || address === '') return;
  try {
    const { notifySystemd } = await import('../../lib/linux/systemd.js');
    // systemd tells by the time whether READY=1 belongs to this reload.
    const time = state === 'RELOADING=1' ? `\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}` : '';
    notifySystemd(address, state + time);
  } catch (error) {
    log.warn({ err: error, state }, 'cannot tell the service manager');
  }
}
