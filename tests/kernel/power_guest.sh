# What the last power cut left is removed by a backup, and another one is begun that is cut off at $POINT (if there is
# one). The journal is on a disk that outlives the cut.
. "${GUEST%/*}/words.sh"
set -- $DISKS
[ -e "$OUT/made" ] || mke2fs -q -t ext4 $2
mkdir -p /run/state /run/m
mount $2 /run/state
export RESPALDO_STATE=/run/state
if [ -e "$OUT/made" ]; then
  vgchange -qq -ay vg0
  lvs -o name,tags vg0
  expect 0 "$RESPALDO" backup vg0/root
  nothing_left
else
  vgcreate -qq vg0 $1
  lvcreate -qq -n root -L 16M vg0
  mke2fs -q -t ext4 /dev/vg0/root
  quick_init
  sync
  touch "$OUT/made"
fi
[ -n "$POINT" ] || exit 0
RESPALDO_HOLD_AT=$POINT RESPALDO_HOLD_FILE="$OUT/cut" "$RESPALDO" backup vg0/root
exit 1 # it was not held
