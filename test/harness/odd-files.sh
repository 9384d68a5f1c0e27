#!/bin/sh
# Fills the tree $1 with what layers may hold and unpackers get wrong, on top of
# a Debian tree; then $2 with a layer that deletes and replaces some of it.
set -eu
umask 022

base=$1
mkdir -p "$base/odd" && cd "$base/odd"

mkdir links && cd links
echo one >first && ln first second && ln first third
ln -s first relative && ln -s /etc/hostname absolute && ln -s ../../../../../etc/hostname escaping && ln -s nowhere dangling
ln -s "$(printf 'long-%0200d' 7)" long-target
cd ..

mkdir devices && cd devices
mknod null c 1 3 && mknod loop b 7 200 && mknod wide c 511 1048575 && mkfifo pipe
chmod 666 null && chmod 600 loop
cd ..

mkdir modes && cd modes
for mode in 0000 0400 0644 0755 1755 2755 4755 6755 7777; do echo "$mode" >"file-$mode" && chmod $mode "file-$mode"; done
for mode in 0700 0555 1777 2775; do mkdir "dir-$mode" && chmod $mode "dir-$mode"; done
echo owned >owned && chown 1234:5678 owned
echo far >far && chown 3000000000:4000000000 far && chmod 4711 far
ln -s owned owned-link && chown -h 77:88 owned-link
cd ..

mkdir attributes && cd attributes
cp /bin/true capable && setcap cap_net_raw,cap_net_admin=ep capable
echo text >user && setfattr -n user.comment -v 'plain text' user && setfattr -n user.binary -v 0x00ff00fe0a user
mkdir directory && setfattr -n user.on-directory -v yes directory
cd ..

mkdir times && cd times
echo a >epoch && touch -d @0 epoch
echo a >before && touch -d '1960-01-01 00:00:00 UTC' before
echo a >after && touch -d '2100-01-01 00:00:00 UTC' after
echo a >fraction && touch -d @1234567890.123456789 fraction
ln -s fraction link && touch -h -d @1000000000 link
cd ..

mkdir names && cd names
echo a >"$(printf 'not-utf8-\377\376')" && echo a >"$(printf 'line\nbreak')" && echo a >' blank ' && echo a >'back\slash'
echo a >ünïcödé && echo a >"$(printf '%0255d' 1)" && echo a >-dash && echo a >'..twodots' && echo a >.hidden
deep=.; for level in 1 2 3 4 5 6 7 8; do deep=$deep/$(printf 'level-%s-%050d' $level 0); done
mkdir -p "$deep" && echo bottom >"$deep/file"
cd ..

mkdir sizes && cd sizes
: >empty && echo hello >small
truncate -s 3M hole && printf x | dd of=hole bs=1 seek=1500000 conv=notrunc status=none
dd if=/dev/zero bs=1M count=2 status=none | tr '\0' 'z' >full
for count in 511 512 513; do head -c $count /dev/zero | tr '\0' b >"block-$count"; done
cd ..

mkdir -p replaced/dir-to-file replaced/dir-to-link replaced/opaque/inner replaced/kept replaced/gone/deep
echo a >replaced/dir-to-file/inside && echo a >replaced/dir-to-link/inside
echo a >replaced/file-to-dir && ln -s /etc replaced/link-to-dir && echo a >replaced/file
echo a >replaced/opaque/below && echo a >replaced/opaque/inner/below
echo a >replaced/kept/one && echo a >replaced/kept/two && echo a >replaced/gone/deep/file
echo shared >replaced/linked-below && ln replaced/linked-below replaced/linked-too

changes=$2
mkdir -p "$changes/odd/replaced" && cd "$changes/odd/replaced"
: >.wh.gone
echo now-a-file >dir-to-file
ln -s kept dir-to-link
mkdir file-to-dir link-to-dir && echo a >file-to-dir/inside && echo a >link-to-dir/inside
echo other >file && chmod 4755 file && setfattr -n user.new -v 1 file
mkdir -p opaque && : >opaque/.wh..wh..opq && echo b >opaque/fresh
mkdir -p kept && : >kept/.wh.one && chmod 0711 kept
echo again >linked-too
mkdir -p ../new && echo n >../new/file && ln ../new/file ../new/hard
mkdir -p "$changes/usr/share" && : >"$changes/usr/share/.wh.doc"
