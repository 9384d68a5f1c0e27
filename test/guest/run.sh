#!/bin/sh
# Runs compiled test files in a virtual machine of Debian's kernel, where version 2 of control groups is alone and has every
# controller, whatever this host has: sh test/guest/run.sh [dist/FILE.test.js...]
#
# The machine's root is this host's, read through 9p; what is written there lies in its memory and goes with it.
# KEELSON_GUEST_MEMORY is its size (default 3G), KEELSON_GUEST_KERNEL the package of its kernel.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
. test/prepare.sh

need_packages 'The virtual machine' $NODE_NEEDS qemu-system-x86:qemu-system-x86_64 cpio:cpio busybox-static:busybox kmod:depmod dpkg:dpkg-deb
need_node_modules
need_build test bench
[ $# -gt 0 ] || set -- dist/plugins/runtime-runc/unified.test.js dist/lib/cgroups/*.test.js

work=$(mktemp -d /var/tmp/keelson-guest-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The kernel is unpacked, not installed: nothing of this host changes.
fetch_kernel() (
  package=${KEELSON_GUEST_KERNEL:-$(apt-cache depends --important linux-image-amd64 | sed -n 's/.*Depends: //p')}
  mkdir "$work/kernel" && cd "$work/kernel"
  apt-get download -qq -o APT::Sandbox::User=root "$package"
  dpkg-deb --extract ./*.deb .
  depmod --basedir . "$(ls lib/modules)"
)

# What it takes to mount the root: everything else is read from there.
make_initramfs() (
  version=$1
  shift
  mkdir -p "$work/initramfs/bin" && cd "$work/initramfs"
  cp /bin/busybox bin/
  modprobe --dirname "$work/kernel" --set-version "$version" --show-depends --all virtio_pci 9pnet_virtio 9p overlay |
    sed -n 's|^insmod \([^ ]*\).*|\1|p' | awk '!seen[$0]++' >modules
  xargs -I{} cp --parents {} . <modules
  cp "$here/init" init
  printf '%s\n' "$checkout" "$@" >arguments
  find . | cpio --quiet --create --format=newc >"$work/initramfs.cpio"
)

here=$PWD/test/guest
checkout=$PWD
fetch_kernel
version=$(ls "$work/kernel/lib/modules")
make_initramfs "$version" "$@"
mkdir "$work/answer"

# Debian's kernel runs on the processor's own virtualization, or emulated, which is some ten times slower.
accelerate() {
  if [ -w /dev/kvm ] && ls -d /sys/module/kvm_intel /sys/module/kvm_amd >/dev/null 2>&1; then
    echo '-accel kvm -cpu host'
  else
    echo '-accel tcg,thread=multi -cpu max'
  fi
}

share() { echo "local,path=$2,mount_tag=$1,security_model=none,multidevs=remap"; }
qemu-system-x86_64 $(accelerate) -smp "$(nproc)" -m "${KEELSON_GUEST_MEMORY:-3G}" \
  -nodefaults -no-user-config -no-reboot -display none -serial stdio \
  -kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initramfs.cpio" \
  -append 'console=ttyS0 quiet panic=-1 cgroup_no_v1=all' \
  -virtfs "$(share root /),readonly=on" -virtfs "$(share kernel "$work/kernel"),readonly=on" -virtfs "$(share answer "$work/answer")"
if [ ! -s "$work/answer/status" ]; then
  echo 'The virtual machine ended before its tests did: see what it printed' >&2
  exit 1
fi
exit "$(cat "$work/answer/status")"
