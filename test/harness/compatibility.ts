/** The rows of docs/compatibility.md. */
export interface CompatibilityRow {
  /** Service and method: `containerd.services.version.v1.Version/Version`. */
  readonly call: string;
  readonly status: string;
  readonly note: string;
}

/** Rows below each `## service` heading; the header of a table is not one. */
export function compatibilityOf(page: string): readonly CompatibilityRow[] {
  return page
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const [service = '', ...lines] = section.split('\n');
      return lines
        .map((line) => line.split('|').map((cell) => cell.trim()))
        .filter(([, name, status]) => name !== undefined && status !== '' && !/^-+$/.test(name))
        .map(([, name, status = '', note = '']) => ({ call: `${service}/${name}`, status, note }));
    });
}
