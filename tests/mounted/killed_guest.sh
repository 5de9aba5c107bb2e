# A backup that reads through the kernel, killed in the middle: no mount, no block device, nothing that holds the volume.
export RESPALDO_PASSWORD=endtoend
pvcreate -qq /dev/ubda
vgcreate -qq vg0 /dev/ubda
lvcreate -qq -L 700m -n xfs vg0
unaudited mkfs.xfs -q /dev/vg0/xfs
mkdir -p /run/m
mount /dev/vg0/xfs /run/m
python3 "$HARNESS/../files/populate.py" /run/m 2
umount /run/m
vgchange -qq -an vg0
quick_init "$OUT/repo"
before=$(wc -l </proc/mounts)

for signal in KILL TERM; do
  "$RESPALDO" --disk /dev/ubda -r "$OUT/repo" backup --mount vg0/xfs &
  pid=$!
  until [ -e /sys/block/nbd0/pid ]; do kill -0 $pid; done
  sleep 0.3
  [ "$(wc -l </proc/mounts)" = "$before" ]  # not seen while it lasts
  kill -$signal $pid
  refused wait $pid
  for i in $(seq 50); do
    [ -e /sys/block/nbd0/pid ] || break
    sleep 0.1
  done
  [ ! -e /sys/block/nbd0/pid ]
  [ "$(wc -l </proc/mounts)" = "$before" ]
  # Whoever still had the filesystem mounted would hold the node.
  python3 -c 'import os; os.close(os.open("/dev/nbd0", os.O_RDONLY | os.O_EXCL))'
done
"$RESPALDO" --disk /dev/ubda -r "$OUT/repo" backup --mount vg0/xfs
