# What can go wrong, does.
. "${GUEST%/*}/words.sh"
set -- $DISKS
# A disk with bad sectors: dm-dust below the physical volume.
sectors=$(blockdev --getsz $2)
dmsetup create dust --table "0 $sectors dust $2 0 4096"
sed -i 's#"a../dev/ubd.",#"r|^'$2'$|","a|^/dev/ubd|",#' "$LVM_SYSTEM_DIR/lvm.conf"
grep filter "$LVM_SYSTEM_DIR/lvm.conf"
vgcreate -qq vg-1.x /dev/mapper/dust
lvcreate -qq -n da-ta -L 32M vg-1.x
V=vg-1.x/da-ta
mke2fs -q -t ext4 -b 4096 -E nodiscard /dev/$V
mkdir -p /run/m
mount -o noatime /dev/$V /run/m
head -c 300000 /dev/urandom >/run/m/good
sha256sum </run/m/good >good.sum
head -c 2M /dev/urandom >/run/m/the-bad-one
sync
block=$(filefrag -e -b4096 /run/m/the-bad-one | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
umount /run/m
quick_init
expect 0 "$RESPALDO" backup $V
echo 3 >/proc/sys/vm/drop_caches
# The volume begins at 1 MiB: block 256 of the disk.
dmsetup message dust 0 addbadblock $((block + 256 + 3))
dmsetup message dust 0 enable
expect 1 "$RESPALDO" backup $V
says "vg-1.x/da-ta"
says "at byte $(((block + 3) * 4096))"
says "the-bad-one"
nothing_left
[ "$(backups)" = 1 ]
expect 3 "$RESPALDO" backup --on-read-error skip $V
says "the-bad-one"
says "INCOMPLETE"
nothing_left
"$RESPALDO" cat latest /$V/files/good | sha256sum | diff - good.sum
"$RESPALDO" cat latest /$V/volume.json >facts.json
dmsetup message dust 0 disable

# The group is locked by another command.
vgcreate -qq vg0 $1
lvcreate -qq -n root -L 16M vg0
flock /run/lock/lvm/V_vg0 sh -c 'touch /run/locked; while [ -e /run/locked ]; do sleep 0.2; done' &
locker=$!
until [ -e /run/locked ]; do kill -0 $locker; sleep 0.2; done
"$RESPALDO" backup vg0/root >/run/stdout 2>/run/stderr &
held=$!
# It waits, until the lock is let go.
until grep -q -e '-> FLOCK' /proc/locks; do kill -0 $held; sleep 0.2; done
refused flock -n /run/lock/lvm/V_vg0 true
kill -0 $held
rm /run/locked
release
[ $status = 0 ]
wait $locker
# Somebody removes the snapshot.
hold "snapshot open" "$RESPALDO" backup vg0/root
snapshot=$(lvs --noheadings -o lv_name vg0 | grep respaldo_ | tr -d ' ')
# A device that is open cannot go; somebody with force replaces its table.
dmsetup wipe_table --force "vg0-$snapshot" || dmsetup wipe_table "vg0-$snapshot"
release
[ $status = 21 ]
expect 0 "$RESPALDO" clean
nothing_left

# The target is full: nothing is listed, nothing stays.
mkdir -p /run/small
mount -t tmpfs -o size=3M tmpfs /run/small
"$RESPALDO" -r /run/small/repo init
lvcreate -qq -n noise -L 16M vg0
pattern /dev/vg0/noise 0 16384
expect 1 "$RESPALDO" -r /run/small/repo backup vg0/noise
says "No space left"
nothing_left

# The repository's disk is pulled out amid a backup, and comes back.
sectors=$(blockdev --getsz $3)
dmsetup create vault --table "0 $sectors linear $3 0"
mke2fs -q -t ext4 /dev/mapper/vault
mkdir -p /run/vault
mount /dev/mapper/vault /run/vault
expect 0 "$RESPALDO" -r /run/vault/repo init
expect 0 "$RESPALDO" -r /run/vault/repo backup vg0/root
hold "snapshot open" "$RESPALDO" -r /run/vault/repo backup vg0/noise
dmsetup suspend --nolockfs --noflush vault
dmsetup reload vault --table "0 $sectors error"
dmsetup resume vault
release
[ $status = 1 ]
says "/run/vault/repo"
says "Input/output error\|Read-only file system"
nothing_left
umount /run/vault
dmsetup suspend --noflush vault
dmsetup reload vault --table "0 $sectors linear $3 0"
dmsetup resume vault
e2fsck -fp /dev/mapper/vault || [ $? = 1 ]
mount /dev/mapper/vault /run/vault
expect 0 "$RESPALDO" -r /run/vault/repo backup vg0/noise
expect 11 "$RESPALDO" -r /run/vault/repo check # the first run could not remove its lock
says "respaldo unlock"
expect 0 "$RESPALDO" -r /run/vault/repo unlock
expect 0 "$RESPALDO" -r /run/vault/repo check --read-data
[ "$("$RESPALDO" -r /run/vault/repo --json list | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')" = 2 ]
umount /run/vault

# No such volume; an inactive one; no lvm2; not root.
expect 1 "$RESPALDO" backup vg0/nothing
says "vg0/root"
lvchange -qq -an vg0/noise
expect 1 "$RESPALDO" backup vg0/noise
says "lvchange -ay"
expect 1 setpriv --reuid=65534 --regid=65534 --clear-groups "$RESPALDO" snapshot list
says "root"
touch /run/none
lvm=$(readlink -f "$(command -v lvm)")
mount --bind /run/none "$lvm"
expect 1 "$RESPALDO" backup vg0/root
says "cannot run lvm: Permission denied"
umount "$lvm"
mkdir /run/empty
mount --bind /run/empty /usr/sbin
expect 1 "$RESPALDO" backup vg0/root
says "apt install lvm2"
umount /usr/sbin
