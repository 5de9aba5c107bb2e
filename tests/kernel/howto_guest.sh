# The howto's whole day, from empty disks: a root filesystem that is written to all the while, a backup disk, a backup,
# and the way back. The reference is the filesystem frozen, by a hook, at the moment of the snapshot.
. "${GUEST%/*}/words.sh"
export RESPALDO_FSTAB=/run/fstab RESPALDO_REPOSITORY=/run/backups/repository
set -- $DISKS
echo "# the host" >/run/fstab
echo ',,lvm' | sfdisk -q --label gpt "$1"
vgcreate -qq vg0 "${1}1"
lvcreate -qq -n root -L 100M vg0
mke2fs -q -t ext4 /dev/vg0/root
mkdir -p /run/m /run/n
mount -o noatime /dev/vg0/root /run/m
cp -a /usr/share/common-licenses /run/m/

# What there is, and a disk for backups.
expect 0 "$RESPALDO" layout
says vg0/root
expect 0 "$RESPALDO" target create "$2" --mount /run/backups --yes
mountpoint -q /run/backups

# fio writes, but for the blink in which the reference is taken and the snapshot made.
fio --name=load --directory=/run/m --rw=randwrite --bs=4k --size=4M --nrfiles=4 --ioengine=psync --thread --fallocate=none \
  --fsync=16 --rate=1m --time_based --runtime=900 --output=fio.log &
fio=$!
while [ "$(ls /run/m/load.* 2>/dev/null | wc -l)" -lt 4 ]; do sleep 0.1; done
cat >/run/before <<H
kill -STOP $fio
sync
fsfreeze -f /run/m
dd if=/dev/vg0/root bs=4k skip=1 iflag=direct status=none | sha256sum >$OUT/frozen.sum
fsfreeze -u /run/m
python3 "${HARNESS%/harness}/files/manifest.py" /run/m >"$OUT/frozen.files"
H
expect 0 "$RESPALDO" backup --all-blocks --hook-deadline 2m --hook-before "sh /run/before" --hook-after "kill -CONT $fio" vg0/root
grep -q "same disk" /run/stderr && { echo "the backups lie on a disk of their own" >&2; exit 1; }
# fio writes again.
while dd if=/dev/vg0/root bs=4k skip=1 iflag=direct status=none | sha256sum | cmp -s - frozen.sum; do
  kill -0 $fio
  sleep 0.5
done

# The snapshot has gone; layout's figures are lvm2's.
nothing_left
[ "$(lvs --noheadings -o lv_name vg0 | tr -d ' ')" = root ]
"$RESPALDO" --json layout >layout.json
for report in lv vg pv; do ${report}s --reportformat json --units b --nosuffix -o ${report}_all,vg_name >${report}s.json; done

# The way back: a new volume, clean, with identical files.
expect 0 "$RESPALDO" restore latest:vg0/root --to vg0/root2 --create --pv "${1}1" --verify
kill $fio
wait $fio || :
dd if=/dev/vg0/root2 bs=4k skip=1 status=none | sha256sum | diff - frozen.sum
e2fsck -fn /dev/vg0/root2
mount -o noatime /dev/vg0/root2 /run/n
python3 "${HARNESS%/harness}/files/manifest.py" /run/n >restored.files
python3 "${HARNESS%/harness}/files/manifest.py" --compare frozen.files restored.files allocated atime
expect 0 "$RESPALDO" restore latest:vg0/root --files --to /run/backups/files
python3 "${HARNESS%/harness}/files/manifest.py" /run/backups/files >restored.files
python3 "${HARNESS%/harness}/files/manifest.py" --compare frozen.files restored.files allocated atime
# The root itself goes back too, once nothing uses it: only what fio changed is written.
expect 11 "$RESPALDO" restore latest:vg0/root --to vg0/root --in-place --yes
says "mounted on /run/m"
umount /run/m
expect 0 "$RESPALDO" restore latest:vg0/root --to vg0/root --in-place --yes --verify
says "unchanged"
cmp /dev/vg0/root /dev/vg0/root2 || dd if=/dev/vg0/root bs=4k skip=1 status=none | sha256sum | diff - frozen.sum
umount /run/n
restic -r /run/backups/repository --no-cache check --read-data
"$RESPALDO" check --read-data
umount /run/backups
