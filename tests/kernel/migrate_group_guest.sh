# migrate to another group: unused and used, stopped, killed at each step, damaged and written to behind our back.
. "${GUEST%/*}/words.sh"
set -- $DISKS
vgcreate -qq vg-a.b "$1"
vgcreate -qq --physicalextentsize 8M vault "$2"
lvcreate -qqy -n ro-ot -L 52M vg-a.b
V=vg-a.b/ro-ot N=vault/ro-ot
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
(cd /run/m && find . -type f -exec sha256sum {} +) >/run/sums

is() { [ "$(lvs --noheadings -o "$2" "$1" | xargs)" = "$3" ]; }  # is VOLUME FIELD VALUE
bases() { lvs --noheadings -o lv_tags vg-a.b | grep -c respaldo_base_ || true; }
gone() { refused lvs $N; [ "$(bases)" = 0 ]; nothing_left; }

# What cannot be is told, and nothing is changed.
expect 1 "$RESPALDO" migrate $V --to nothing
says "has no physical volume nothing"
expect 1 "$RESPALDO" migrate vg-a.b/no --to vault
lvcreate -qqy -n ro-ot -L 8M vault
expect 1 "$RESPALDO" migrate $V --to vault
says "there is a volume vault/ro-ot already"
lvremove -qqy vault/ro-ot
lvcreate -qqy -n full -L 160M vault
expect 1 "$RESPALDO" migrate $V --to vault
says "free, the volume needs"
lvremove -qqy vault/full
expect 2 "$RESPALDO" migrate $V --to "$1" --cow 8M
gone

# Stopped, or killed: the first copy leaves nothing, the source is as it was.
hold "copy begun" "$RESPALDO" migrate $V --to vault
expect 11 "$RESPALDO" migrate $V --to vault/other  # one at a time
says "another .* of this volume runs"
kill -TERM $held
release
[ $status = 130 ]
gone
hold "copy begun" "$RESPALDO" migrate $V --to vault
kill -KILL $held
release
# As at boot: what is half made is not activated.
lvchange -an $N
vgchange -qq -aay vault
is $N lv_active ""
# The same command makes it anew. From here on it is a copy, and nobody's leftover.
hold "copy marked" "$RESPALDO" migrate $V --to vault
kill -KILL $held
release
"$RESPALDO" clean
lvs $N

# In use: caught up with, as often as wanted; stopped in between; and taken back. A backup's base is its own.
head -c 3M /dev/urandom >/run/m/one
sync
hold "catching up" "$RESPALDO" migrate $V --to vault
kill -TERM $held
release
[ $status = 130 ]
is $N lv_active "" && is $N lv_skip_activation "skip activation"
quick_init
"$RESPALDO" -q backup $V --keep-base --cow 8M
[ "$(bases)" = 2 ]
"$RESPALDO" -q base remove "vg-a.b/$(lvs --noheadings -o lv_name,lv_tags vg-a.b | grep respaldo_base_ | grep -v move | awk '{ print $1 }')" --yes
expect 11 "$RESPALDO" --json migrate $V --to vault
says '"outcome":"copied"'
says '"copied":0'
caught=$(sed -n 's/.*"caught_up":\([0-9]*\).*/\1/p' /run/stdout)
[ "$caught" -ge 3000000 ] && [ "$caught" -le 9000000 ]
[ "$(bases)" = 1 ]
expect 11 "$RESPALDO" migrate $V --to vault/other
says "moving $V to $N was begun"
expect 0 "$RESPALDO" migrate $V --abort
says "the copy of $V is removed"
gone

# The whole way: copied while it is written to, unmounted, moved.
(set +x; n=0; while [ ! -e /run/enough ]; do n=$((n + 1)); echo $n; sync -d /run/m/lines; sleep 0.3; done >/run/m/lines
 echo $n >/run/count) &
writer=$!
expect 11 "$RESPALDO" migrate $V --to vault
says "$N is a copy of $V"
says "$V is in use: .*mounted on /run/m"
says "run this command again"
touch /run/enough
wait $writer
head -c 2M /dev/urandom >/run/m/two
umount /run/m
# The copy is damaged meanwhile: the comparison finds it. And the source is written to while it is compared, by somebody
# who does not mount it: nothing is switched.
lvchange -ay -K $N
printf x | dd of=/dev/$N bs=1 seek=31000000 conv=notrunc,fsync status=none
lvchange -an $N
hold "copy compared" "$RESPALDO" migrate $V --to vault
printf x | dd of=/dev/$V bs=1 seek=40000000 conv=notrunc,fsync status=none
release
[ $status = 11 ]
says "64.00 KiB of the copy differ from $V, and are copied again"
says "was written to while it was compared"
is $V lv_active active
# What is written without a word to the disk is still in memory when it is closed.
hold "copy compared" "$RESPALDO" migrate $V --to vault
printf z | dd of=/dev/$V bs=1 seek=40000000 conv=notrunc status=none
release
[ $status = 11 ]
says "was written to while it was compared"
is $V lv_active active
[ "$(blockdev --getro /dev/$V)" = 0 ]
# The copy cannot take its place, or the volume cannot be called moved: it is back in use, and the copy rests.
mkdir -p /run/bin
printf '#!/bin/sh\ncase "$*" in "lvchange "*$FAILING) echo no >&2; exit 5 ;; esac\nexec /sbin/lvm "$@"\n' >/run/bin/lvm
chmod +x /run/bin/lvm
FAILING="-kn*$N" PATH=/run/bin:$PATH expect 1 "$RESPALDO" migrate $V --to vault
says "nothing was moved: $V is back in use"
is $V lv_active active && is $V lv_skip_activation "" && is $V lv_tags ""
is $N lv_active ""
FAILING="-ky*$V" PATH=/run/bin:$PATH expect 1 "$RESPALDO" migrate $V --to vault
is $V lv_active active && is $V lv_skip_activation ""
is $N lv_active ""
# Nor does it come back: the command that does it is told, and does it.
FAILING="-kn*" PATH=/run/bin:$PATH expect 1 "$RESPALDO" migrate $V --to vault
says "$V is out of use, and could not be brought back"
is $V lv_active "" && is $N lv_active ""
eval "$(sed -n 's/.*to use it again: //p' /run/stderr)"
is $V lv_active active && is $V lv_tags ""
# Killed at each step of the end: the same command brings it to its end, and compares again with what is here then.
hold "volume not active" "$RESPALDO" migrate $V --to vault
kill -KILL $held
release
hold "volume retired" "$RESPALDO" migrate $V --to vault
kill -KILL $held
release
lvchange -ay -K $V
printf y | dd of=/dev/$V bs=1 seek=40000000 conv=notrunc,fsync status=none
sum=$(sha256sum </dev/$V)
lvchange -an $V
hold "copy took over" "$RESPALDO" migrate $V --to vault
kill -KILL $held
release
"$RESPALDO" clean
expect 1 "$RESPALDO" migrate $V --to vault
says "$V was moved: it is $N now"
is $V lv_active "" && is $V lv_skip_activation "skip activation"
is $N lv_active active && is $N lv_skip_activation ""
[ "$(head -c 54525952 /dev/$N | sha256sum)" = "$sum" ]
[ "$(bases)" = 0 ]
nothing_left
mount /dev/$N /run/m
(cd /run/m && sha256sum --quiet -c /run/sums)
seq "$(cat /run/count)" | cmp - /run/m/lines
umount /run/m
e2fsck -fn /dev/$N
