# Volumes of the running system, mounted and written to: the file view is the state at the snapshot.
export RESPALDO_PASSWORD=endtoend RESPALDO_STATE=/run/respaldo
pvcreate -qq /dev/ubda
vgcreate -qq vg0 /dev/ubda
lvcreate -qq -L 500m -n xfs vg0
lvcreate -qq -L 500m -n btrfs vg0
"$RESPALDO" -r /run/repo init
mkdir -p /run/xfs /run/btrfs /run/back
mkfs.xfs -q -m reflink=1 /dev/vg0/xfs
mkfs.btrfs -q /dev/vg0/btrfs
mount /dev/vg0/xfs /run/xfs
mount /dev/vg0/btrfs /run/btrfs
btrfs -q subvolume create /run/btrfs/home
for folder in /run/xfs /run/btrfs/home; do
  mkdir $folder/still
  cp -a /usr/share/common-licenses $folder/still/
  dd if=/dev/urandom of=$folder/still/noise bs=1M count=20 status=none
done
sync
mounts=$(wc -l </proc/mounts)

# Somebody writes all the while.
(while [ ! -e /run/stop ]; do for f in /run/xfs/busy /run/btrfs/home/busy; do date >$f.new; cp /run/xfs/still/noise $f.big; mv $f.new $f; done; done) &
writer=$!
"$RESPALDO" -r /run/repo --json backup vg0/xfs vg0/btrfs >"$OUT/live.json"
touch /run/stop
wait $writer
jq -e '[.volumes[].file_views[0].how] == ["mounted", "mounted"]' "$OUT/live.json"
[ "$(wc -l </proc/mounts)" = "$mounts" ]
[ ! -e /sys/block/nbd0/pid ]
[ -z "$(lvs --noheadings -o name vg0 | grep -v -w -e xfs -e btrfs)" ]

for name in xfs btrfs; do
  "$RESPALDO" -r /run/repo restore latest:vg0/$name --files --to /run/back/$name
done
diff -r /run/xfs/still /run/back/xfs/still
diff -r /run/btrfs/home/still /run/back/btrfs/home/still
test -s /run/back/xfs/busy
umount /run/xfs /run/btrfs
