#!/bin/sh
# Installs what the tests need, builds, and runs the lint and every test.
# With arguments, runs only those compiled test files: sh test/run.sh dist/kernel/plan.test.js
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
. test/prepare.sh

need_packages 'The test command' $NODE_NEEDS \
  runc:runc crun:crun criu:criu containerd:ctr docker-registry:docker-registry skopeo:skopeo umoci:umoci \
  busybox-static:busybox 'libisal2:/usr/lib/*/libisal.so.2' isal:igzip \
  attr:setfattr acl:setfacl libcap2-bin:setcap e2fsprogs:mkfs.ext4 xfsprogs:mkfs.xfs btrfs-progs:mkfs.btrfs zfs-fuse:zfs-fuse \
  util-linux:losetup mount:mount kmod:modprobe procps:ps strace:strace tar:tar tzdata:/usr/share/zoneinfo/UTC gzip:gzip zstd:zstd openssl:openssl

if [ "$(id -u)" -ne 0 ]; then
  echo 'The tests mount filesystems and run containers: run them as root, for example: sudo sh test/run.sh' >&2
  exit 1
fi

need_node_modules
need_build test bench
npm run --silent lint
exec node_modules/.bin/node dist/test/run.js "$@"
