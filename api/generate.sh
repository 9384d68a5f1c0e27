#!/bin/sh
# Generates TypeScript from the .proto files into api/gen. Does nothing when
# that is up to date. Needs no network.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
export PATH

stamp=$({ find api -name '*.proto' ! -path 'api/gen/*' | LC_ALL=C sort; ls api/buf*.yaml api/strict.mjs; } |
  xargs cat package-lock.json api/generate.sh | sha256sum)
[ "$(cat api/gen/.stamp 2>/dev/null || true)" = "$stamp" ] && exit 0

mkdir -p dist
work=$(mktemp -d "$PWD/dist/gen.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd api && BUF_CACHE_DIR=$work/cache buf generate -o "$work")
node api/strict.mjs "$work/gen"
echo "$stamp" >"$work/gen/.stamp"
rm -rf api/gen
mv "$work/gen" api/gen
