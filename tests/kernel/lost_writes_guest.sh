# The repository's disk loses packs, and another program's sync is told of it first: the backup fails all the same.
. "${GUEST%/*}/words.sh"
set -- $DISKS
sectors=$(blockdev --getsz $1)
dmsetup create flaky --table "0 $sectors linear $1 0"
mke2fs -q -t ext4 -O ^has_journal /dev/mapper/flaky # a journal would end with its first lost write
mkdir -p /run/r
mount /dev/mapper/flaky /run/r
export RESPALDO_REPOSITORY=/run/r/repo
vgcreate -qq vg0 $2
lvcreate -qqy -n root -L 40M vg0
head -c 40M /dev/urandom >/dev/vg0/root
quick_init
sync

# Written pages stay in memory until somebody syncs.
echo 80 >/proc/sys/vm/dirty_background_ratio
echo 90 >/proc/sys/vm/dirty_ratio
echo 360000 >/proc/sys/vm/dirty_expire_centisecs
table() { # what the disk is from here on
  dmsetup suspend --nolockfs --noflush flaky
  dmsetup reload flaky --table "0 $sectors $1"
  dmsetup resume flaky
}
hold "volume read" "$RESPALDO" backup vg0/root
[ -n "$(find /run/r/repo/data -type f)" ]
table "flakey $1 0 0 3600 1 error_writes"
expect 1 sync -f /run/r
table "linear $1 0"
release
[ $status = 1 ]
grep -q "syncfs" /run/stderr
[ "$(backups)" = 0 ]
umount /run/r
