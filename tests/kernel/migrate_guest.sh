# migrate: a volume that is written to goes to another disk; held in the middle, interrupted, killed, aborted.
. "${GUEST%/*}/words.sh"
set -- $DISKS
first=$1 second=$2 third=$3
# The second disk takes as long as it is told for what is not lvm2's metadata. It begins behind the start of the disk
# below, which would else look like the same physical volume.
sectors=$((196 * 2048))
slow() { # slow MILLISECONDS
  dmsetup suspend slow
  dmsetup reload slow <<END
0 2048 linear $second 2048
2048 $((sectors - 2048)) delay $second 4096 $1
END
  dmsetup resume slow
}
dmsetup create slow --table "0 $sectors linear $second 2048"
S=/dev/mapper/slow
vgcreate -qq vg-a.b "$first" $S
vgcreate -qq vg1 "$third"
lvcreate -qqy -n ro-ot -L 48M vg-a.b "$first"
V=vg-a.b/ro-ot
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
(cd /run/m && find . -type f -exec sha256sum {} +) >/run/sums
on() { [ "$(lvs --noheadings --segments -o devices $V | tr -d ' ' | sed 's/([0-9]*)//' | sort -u | xargs)" = "$*" ]; }
no_move() { ! lvs -a --noheadings -o lv_name vg-a.b | grep pvmove; }

# What cannot be is told, and nothing is changed.
expect 2 "$RESPALDO" migrate $V
expect 1 "$RESPALDO" migrate $V --to /dev/nothing
says "has no physical volume /dev/nothing"
expect 1 "$RESPALDO" migrate vg-a.b/no --to $S
expect 1 "$RESPALDO" migrate $V --abort
says "is not being moved"
expect 1 "$RESPALDO" migrate $V --to vg-a.b
says "is in the volume group vg-a.b already"
vgremove -qq vg1
vgextend -qq vg-a.b "$third"
lvcreate -qqy -n full -L 60M vg-a.b "$third"
expect 1 "$RESPALDO" migrate $V --to "$third"
says "free, moving $V there needs 48.00 MiB"
lvremove -qq -y vg-a.b/full
lvcreate -qqy --type striped -i 2 -n wide -L 16M vg-a.b "$first" $S
expect 1 "$RESPALDO" migrate vg-a.b/wide --to "$third"
says "is no plain volume (striped)"
lvremove -qq -y vg-a.b/wide
expect 0 "$RESPALDO" migrate $V --to "$first"
says "is on $first already"
on "$first"

# Written to all the while: numbered lines, each one synced; with a pause, for the machine's sake.
(set +x; n=0; while [ ! -e /run/enough ]; do n=$((n + 1)); echo $n; sync -d /run/m/lines; sleep 0.5; done >/run/m/lines
 echo $n >/run/count) &
writer=$!

# Interrupted in the middle: as it was.
slow 3000
hold "move begun" "$RESPALDO" migrate $V --to $S
kill -TERM $held
release
[ $status = 130 ]
on "$first"
no_move

# Killed in the middle: the move is known, others are refused, and it is taken back.
hold "move begun" "$RESPALDO" migrate $V --to $S
kill -KILL $held
release
[ $status = 137 ]
lvs -a --noheadings -o lv_name vg-a.b | grep pvmove0
expect 11 "$RESPALDO" migrate $V --to "$third"
says "is being moved from $first to $S"
lvcreate -qqy -n other -L 8M vg-a.b "$first"
expect 11 "$RESPALDO" migrate vg-a.b/other --to "$third"
says "another volume of vg-a.b is being moved"
expect 0 "$RESPALDO" migrate $V --abort
on "$first"
no_move
lvremove -qq -y vg-a.b/other

# Killed again: the same command goes on with it.
hold "move begun" "$RESPALDO" migrate $V --to $S
kill -KILL $held
release
lvs -a --noheadings -o lv_name vg-a.b | grep pvmove0
hold "move taken up" "$RESPALDO" migrate $V --to $S
slow 0
release
[ $status = 0 ]
says "going on with moving $V"
says "$V is on $S"
on $S
no_move

# In two pieces, to one disk.
lvextend -qq -L +8M $V "$first"
expect 0 "$RESPALDO" --json migrate $V --to "$third"
says '"outcome":"moved"'
on "$third"
no_move

touch /run/enough
wait $writer
umount /run/m
e2fsck -fn /dev/$V
mount /dev/$V /run/m
(cd /run/m && sha256sum --quiet -c /run/sums)
seq "$(cat /run/count)" | cmp - /run/m/lines
[ "$(cat /run/count)" -gt 10 ]
umount /run/m
nothing_left
