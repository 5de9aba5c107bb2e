# A filesystem that is written to while it is saved: image and files are those of the moment of the snapshot.
. "${GUEST%/*}/words.sh"
vgcreate -qq vg-a.b $DISKS
lvcreate -qq -n ro-ot.1 -L 64M vg-a.b
V=vg-a.b/ro-ot.1
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m
mount -o noatime /dev/$V /run/m
cp -a /usr/share/common-licenses /usr/lib/x86_64-linux-gnu/perl-base /run/m/
i=0; while [ $i -lt 12 ]; do head -c $((i * 39731)) /dev/urandom >/run/m/file$i; ln /run/m/file$i /run/m/link$i; i=$((i + 1)); done
quick_init

# The reference: the filesystem frozen. Of its first block the time of the last write differs at each freeze.
sync
fsfreeze -f /run/m
dd if=/dev/$V bs=4k skip=1 iflag=direct status=none | sha256sum >frozen.sum
fsfreeze -u /run/m
python3 "${HARNESS%/harness}/files/manifest.py" /run/m >frozen.files

hold "snapshot open" "$RESPALDO" backup --all-blocks --tag live $V
lvs -o name,attr,tags vg-a.b
lvs --noheadings -o lv_tags vg-a.b | grep -q 'respaldo_owner_.*respaldo_run_'
[ "$(ls $RESPALDO_STATE/journal | wc -l)" = 1 ]
expect 0 "$RESPALDO" clean # a living run's snapshot is nobody's leftover
says "nothing was left behind"
# Another backup of the same volume at the same time; then writes over everything that was there.
expect 0 "$RESPALDO" --json backup --tag second $V
for f in /run/m/file*; do head -c 200000 /dev/urandom >$f; done
rm -rf /run/m/perl-base
head -c 8M /dev/urandom >/run/m/new
sync
release
[ $status = 0 ]
nothing_left
[ "$(backups)" = 2 ]

# A volume in use is not overwritten; one that is not may be.
expect 11 "$RESPALDO" restore latest --to $V --yes
says "mounted on /run/m"
lvcreate -qq -n other -L 64M vg-a.b
expect 0 "$RESPALDO" restore "$("$RESPALDO" --json list | python3 -c 'import json,sys; print([b["id"] for b in json.load(sys.stdin) if "live" in b["tags"]][0])')" --to vg-a.b/other --yes --in-place
dd if=/dev/vg-a.b/other bs=4k skip=1 status=none | sha256sum | diff - frozen.sum
expect 0 "$RESPALDO" dump vg-a.b/other -o image
cmp image /dev/vg-a.b/other
umount /run/m

# Snapshots by hand.
expect 0 "$RESPALDO" snapshot create $V -n by-hand --size 8M
expect 0 "$RESPALDO" snapshot list
says "vg-a.b/by-hand"
expect 0 "$RESPALDO" clean
says "nothing was left behind"
expect 0 "$RESPALDO" snapshot watch vg-a.b/by-hand --count 2 --interval 0.1
says "of 8.00 MiB"
expect 0 "$RESPALDO" snapshot extend vg-a.b/by-hand --by 4M
says "to 12.00 MiB"
expect 0 "$RESPALDO" -q backup --from-snapshot vg-a.b/by-hand
# It is read as it lies: not while it may change, nor when it did. Who only watches it does not mind.
mkdir -p /run/s
mount /dev/vg-a.b/by-hand /run/s
expect 11 "$RESPALDO" backup --from-snapshot vg-a.b/by-hand
says "mounted writable on /run/s"
"$RESPALDO" snapshot watch vg-a.b/by-hand --count 10 --interval 0.2 &
sleep 1
echo written >/run/s/written
sync
wait $!
mount -o remount,ro /run/s
expect 0 "$RESPALDO" -q backup --from-snapshot vg-a.b/by-hand
umount /run/s
saved=$(backups)
for how in "vg-a.b/by-hand" "--from-snapshot vg-a.b/by-hand"; do
  hold "snapshots watched" "$RESPALDO" backup $how
  printf x | dd of=/dev/vg-a.b/by-hand bs=1 seek=5000000 conv=notrunc status=none # in memory only, since we hold the device
  release
  [ $status = 11 ]
  says "by-hand of vg-a.b/ro-ot.1 was written to while it was read"
done
[ "$(backups)" = "$saved" ]
expect 1 "$RESPALDO" snapshot remove $V --yes
says "is not a snapshot"
expect 0 "$RESPALDO" snapshot remove vg-a.b/by-hand --yes
refused lvs vg-a.b/by-hand
expect 0 "$RESPALDO" --json show latest

# A repository on the disk of the volume, in a filesystem of its own: it is made, and told of.
lvcreate -qq -n vault -L 32M vg-a.b
mke2fs -q -t ext4 /dev/vg-a.b/vault
mkdir -p /run/vault
mount /dev/vg-a.b/vault /run/vault
quick_init /run/vault/repo
expect 0 "$RESPALDO" -r /run/vault/repo backup --dry-run vg-a.b/other
says "same disk as vg-a.b/other"
umount /run/vault
