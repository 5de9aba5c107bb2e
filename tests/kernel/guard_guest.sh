# A COW store that is too small for what is written meanwhile: with free extents the guard extends it in time, three runs
# of three; without, the backup fails, nothing is listed and the origin is unharmed.
. "${GUEST%/*}/words.sh"
vgcreate -qq -s 1M vg0 $DISKS
lvcreate -qq -n root -L 96M vg0
mke2fs -q -t ext4 -E nodiscard /dev/vg0/root
mkdir -p /run/m
mount -o noatime /dev/vg0/root /run/m
head -c 60M /dev/urandom >/run/m/data
sync
quick_init
# has_room: the backup's snapshot has room for one more MiB, with the metadata that comes with it. What it must not wait for
# in vain: from 90 % of the store on the guard extends it, however slowly it fills; below that there is room.
has_room() {
  lvs --noheadings --nosuffix --units k -o lv_size,data_percent -S 'lv_name=~^respaldo_' vg0 >/run/room
  awk '$1 * (100 - $2) / 100 > 1100 { room = 1 } END { exit !room }' /run/room
}
for run in 1 2 3; do
  sum=$(sha256sum </run/m/data)
  # The store holds 12 MiB; 20 MiB are overwritten before the reading begins.
  hold "snapshots watched" "$RESPALDO" backup --cow 12M vg0/root
  for n in $(seq 0 19); do
    for i in $(seq 600); do has_room && break; kill -0 $held; sleep 0.5; done
    has_room
    dd if=/dev/zero of=/run/m/data bs=1M count=1 seek=$n conv=notrunc,fdatasync status=none
  done
  release
  [ $status = 0 ]
  says "extended by"
  nothing_left
  "$RESPALDO" cat latest /vg0/root/files/data | sha256sum >now
  [ "$(cat now)" = "$sum" ]
done
"$RESPALDO" cat latest /vg0/root/volume.json >facts.json
# History: the next store is sized by what the last ones used.
expect 0 "$RESPALDO" --json backup vg0/root
python3 -c 'import json; size = json.load(open("/run/stdout"))["volumes"][0]["cow_size"]; assert size >= 64 << 20, size'

# No free extents: told early, and then the snapshot dies.
lvcreate -qq -n rest -l 100%FREE vg0
lvreduce -qq -f -L -12M vg0/rest
before=$(backups)
hold "snapshots watched" "$RESPALDO" backup --cow 12M vg0/root
dd if=/dev/urandom of=/run/m/data bs=1M count=9 conv=notrunc,fdatasync status=none
until grep -q "cannot be extended" /run/stderr; do kill -0 $held; sleep 0.2; done
dd if=/dev/urandom of=/run/m/data bs=1M count=40 conv=notrunc,fdatasync status=none
sum=$(sha256sum </run/m/data)
release
[ $status = 21 ]
says "cannot be extended: volume group vg0 has no free extents"
says "its COW store overflowed"
says "the origin is unharmed"
[ "$(backups)" = "$before" ]
nothing_left
# Given up before it is full, when that is asked for.
hold "snapshots watched" "$RESPALDO" --json backup --cow 12M --on-cow-full abort vg0/root
dd if=/dev/urandom of=/run/m/data bs=64k count=184 conv=notrunc,fdatasync status=none
sum=$(sha256sum </run/m/data)
until grep -q "cannot be extended" /run/stderr; do kill -0 $held; sleep 0.2; done
release
[ $status = 21 ]
says "given up before it is full"
nothing_left
# Nothing at all for a snapshot.
lvextend -qq -l +100%FREE vg0/rest
expect 1 "$RESPALDO" backup vg0/root
says "which is not enough for a snapshot of vg0/root"
[ "$(backups)" = "$before" ]
[ "$(sha256sum </run/m/data)" = "$sum" ]
umount /run/m
e2fsck -fn /dev/vg0/root
