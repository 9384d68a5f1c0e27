#!/bin/sh
# Starts a throwaway daemon, pulls an image from a registry, runs it, and leaves
# nothing behind. Usage: sh examples/quickstart/run.sh [IMAGE [COMMAND...]]
#
# Without IMAGE it makes one of static busybox and serves it from a registry on
# loopback, so that it works without a network once everything is installed.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
. test/prepare.sh

need_packages 'The quickstart' $NODE_NEEDS runc:runc
[ $# -gt 0 ] || need_packages 'The quickstart' docker-registry:docker-registry skopeo:skopeo busybox-static:busybox
if [ "$(id -u)" -ne 0 ]; then
  echo 'A container runtime mounts filesystems: run this as root, for example: sudo sh examples/quickstart/run.sh' >&2
  exit 1
fi
need_node_modules
need_build

work=$(mktemp -d /tmp/keelson-quickstart-XXXXXX)
address=$work/keelson.sock
daemon=
registry=
container=

say() { printf '\n== %s\n' "$*"; }
ctr() { bin/ctr --address "$address" "$@"; }

# Stops what was started, in reverse order, however this script ends and whatever fails on the way.
clean_up() {
  status=$?
  set +e
  trap '' INT TERM
  if [ -n "$container" ] && kill -0 "$container" 2>/dev/null; then # interrupted
    # `ctr run --rm` removes the container when it ends. As long as there is no task to kill, it is still starting.
    until ctr kill --signal KILL quickstart 2>/dev/null || ! kill -0 "$container" 2>/dev/null; do sleep 0.1; done
    wait "$container"
    ctr delete --force quickstart >/dev/null 2>&1 # unless that has been done
  fi
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null
    wait "$daemon" || { status=1; tail -n 20 "$work/daemon.log" >&2; }
  fi
  if [ -n "$registry" ]; then
    kill "$registry" 2>/dev/null
    wait "$registry" 2>/dev/null # a signal ends it
  fi
  for mount in $(cut -d' ' -f2 /proc/mounts | grep "^$work/"); do umount "$mount"; done # only after a crash
  rm -rf --one-file-system "$work" || status=1
  exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_until WHAT PID LOG COMMAND...: until COMMAND succeeds, as long as process PID lives.
wait_until() {
  what=$1 pid=$2 log=$3
  shift 3
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || { echo "$what did not start:" >&2; cat "$log" >&2; exit 1; }
    sleep 0.1
  done
}

# blob FILE: moves FILE to its place in the image and prints size and digest as descriptor fields.
blob() {
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  printf '"size":%s,"digest":"sha256:%s"' "$(wc -c <"$1")" "$digest"
  mv "$1" "$layout/blobs/sha256/$digest"
}

# An OCI image of one layer: static busybox, with a name for each of its programs.
make_image() {
  layout=$work/layout
  tree=$work/tree
  mkdir -p "$layout/blobs/sha256" "$tree/bin" "$tree/etc" "$tree/proc" "$tree/dev" "$tree/sys"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for program in $(busybox --list | grep -v '^busybox$'); do ln -s busybox "$tree/bin/$program"; done
  echo 'root:x:0:0:root:/:/bin/sh' >"$tree/etc/passwd"

  type=application/vnd.oci.image
  tar --create --directory "$tree" --numeric-owner --owner=0 --group=0 --file "$work/layer" .
  diff_id=$(sha256sum "$work/layer" | cut -d' ' -f1)
  gzip "$work/layer"
  layer=$(blob "$work/layer.gz")
  greeting='echo "Hello from a container, process $$ of $(hostname)"; busybox | head -n1; ls /'
  architecture=$(dpkg --print-architecture)
  cat >"$work/config" <<JSON
{"architecture":"$architecture","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]},
"config":{"Env":["PATH=/bin"],"Cmd":["sh","-c","$(echo "$greeting" | sed 's/"/\\"/g')"]}}
JSON
  config=$(blob "$work/config")
  cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"$type.manifest.v1+json","config":{"mediaType":"$type.config.v1+json",$config},
"layers":[{"mediaType":"$type.layer.v1.tar+gzip",$layer}]}
JSON
  manifest=$(blob "$work/manifest")
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  echo '{"schemaVersion":2,"manifests":[{"mediaType":"'$type'.manifest.v1+json",'"$manifest"'}]}' >"$layout/index.json"
}

# A registry on a free port of loopback. Sets $host.
start_registry() {
  cat >"$work/registry.yml" <<YAML
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: 127.0.0.1:0}
YAML
  setsid docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry=$!
  wait_until 'The registry' $registry "$work/registry.log" grep 'listening on' "$work/registry.log"
  host=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$work/registry.log")
}

if [ $# -gt 0 ]; then
  image=$1
  shift
  plain=
else
  say 'An image of static busybox, in a registry on loopback'
  make_image
  start_registry
  image=$host/quickstart/busybox:latest
  plain=--plain-http
  skopeo --insecure-policy copy --dest-tls-verify=false "oci:$layout" "docker://$image"
fi

say 'A daemon with a root of its own'
: >"$work/config.toml"
mkdir -m 700 "$work/root"
mkdir -m 711 "$work/state"
setsid bin/keelsond --config "$work/config.toml" --root "$work/root" --state "$work/state" --address "$address" \
  >"$work/daemon.log" 2>&1 &
daemon=$!
wait_until 'The daemon' $daemon "$work/daemon.log" ctr version
ctr version

say "dist pull $image"
bin/dist --address "$address" pull $plain "$image"

say "ctr run --rm $image quickstart $*"
setsid bin/ctr --address "$address" run --rm --fifo-dir "$work/fifo" "$image" quickstart "$@" &
container=$!
wait $container
