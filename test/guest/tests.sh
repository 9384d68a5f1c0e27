# Second program of the virtual machine (see run.sh): mounts what a host has, control groups of version 2 alone, runs the tests it
# was told of, leaves their status to the host and switches off.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
guest=/run/guest

mount_9p() { mkdir -p "$2" && mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 "$1" "$2"; }
mount_9p answer $guest/answer
mount_9p kernel $guest/kernel
mkdir -p /lib/modules /dev/pts /dev/shm
mount --bind $guest/kernel/lib/modules /lib/modules
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn pts/ptmx /dev/ptmx
# What the kernel does not load when it is first asked for.
modprobe --all loop fuse
ip link set lo up

run_tests() {
  read -r checkout
  cd "$checkout" || return 1
  set --
  while read -r file; do set -- "$@" "$file"; done
  node_modules/.bin/node dist/test/run.js "$@" </dev/null
}
run_tests <$guest/arguments
echo $? >$guest/answer/status
sync
echo o >/proc/sysrq-trigger
read -r _ # until it is off
