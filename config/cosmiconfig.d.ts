/**
 * cosmiconfig's own loader, which its package ships without types. The public
 * `cosmiconfig()` will not do for a daemon that runs as root: as it is called
 * it looks for settings of its own in the working directory, among them
 * `.config/config.js`, and executes them.
 */
declare module 'cosmiconfig/dist/ExplorerSync.js' {
  export interface ExplorerOptions<T> {
    readonly moduleName: string;
    readonly searchPlaces: readonly string[];
    readonly searchStrategy: 'none';
    readonly ignoreEmptySearchPlaces: boolean;
    readonly cache: boolean;
    readonly loaders: Readonly<Record<string, (path: string, content: string) => T>>;
    readonly transform: <R>(result: R) => R;
    readonly metaConfigFilePath: null;
    readonly mergeImportArrays: boolean;
    readonly mergeSearchPlaces: boolean;
    readonly applyPackagePropertyPathToConfiguration: boolean;
    /** Path of the property that holds the settings in a file called `package.*`. */
    readonly packageProp: readonly string[];
  }

  export class ExplorerSync<T> {
    constructor(options: ExplorerOptions<T>);
    /** `config` is undefined for an empty file. */
    load(path: string): { readonly config: T | undefined; readonly filepath: string } | null;
  }
}
