# A backup that is cut off in the middle; $POINT says where. The journal is on a disk that outlives the cut.
. "${GUEST%/*}/words.sh"
set -- $DISKS
[ -e "$OUT/made" ] || mke2fs -q -t ext4 $2
mkdir -p /run/state /run/m
mount $2 /run/state
export RESPALDO_STATE=/run/state
if [ ! -e "$OUT/made" ]; then
  vgcreate -qq vg0 $1
  lvcreate -qq -n root -L 16M vg0
  mke2fs -q -t ext4 /dev/vg0/root
  "$RESPALDO" init
  sync
  touch "$OUT/made"
fi
vgchange -qq -ay vg0
if [ -n "$POINT" ]; then
  RESPALDO_HOLD_AT=$POINT RESPALDO_HOLD_FILE="$OUT/cut" "$RESPALDO" backup vg0/root
  exit 1 # it was not held
fi
lvs -o name,tags vg0
expect 0 "$RESPALDO" backup vg0/root
nothing_left
