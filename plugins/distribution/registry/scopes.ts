/** Scopes of bearer tokens (distribution, token scope documentation): `repository:team/app:pull,push`. */

/** What a session that only reads a repository needs. */
export const pullScope = (repository: string): string => `repository:${repository}:pull`;

/** One scope for each resource with all actions asked for, sorted; what is no scope is kept as it is. */
export function mergeScopes(scopes: readonly string[]): readonly string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(':');
    const resource = colon > scope.indexOf(':') ? scope.slice(0, colon) : scope;
    const known = actions.get(resource) ?? new Set<string>();
    actions.set(resource, known);
    if (resource === scope) continue;
    for (const action of scope.slice(colon + 1).split(',')) if (action !== '') known.add(action);
  }
  const merged = [...actions].map(([resource, known]) =>
    known.size === 0 ? resource : `${resource}:${[...known].sort().join(',')}`,
  );
  return merged.sort();
}
