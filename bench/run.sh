#!/bin/sh
# Measures keelsond beside Debian's containerd. Root, containerd, docker-registry, skopeo and runc are needed.
set -eu
cd "$(dirname "$0")/.."
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
# A copy of its own: with the same file the benchmark and the daemon would share
# the program's pages, and the daemon's proportional memory would look smaller.
cp -L node_modules/.bin/node "$temporary/node"
"$temporary/node" dist/bench/main.js "$@"
