# STEP cut: a merge, a move and an array's first synchronisation are under way when $OUT/cut appears. STEP finish: they
# are carried to their ends. "SHA-256 VG/LV" of what there should be in the end is in $OUT/sums.
if [ "$STEP" = finish ]; then
  vgchange -qq -ay cut
  for volume in origin moved array; do sha256sum <"/dev/cut/$volume" | while read -r sum _; do echo "$sum cut/$volume" >>"$OUT/during"; done; done
  pvmove -qq
  until ! lvs -a --noheadings -o lv_name cut | grep -qE 'snap|pvmove'; do
    vgchange -qq --poll y cut
    sleep 0.5
  done
  sums cut
  vgchange -qq -an cut
  exit 0
fi
set -- $DISKS
vgcreate -qq -s 1M cut "$1" "$2" "$3" "$4"
tell() { echo "$(sha256sum <"/dev/cut/$1" | cut -d' ' -f1) cut/$2" >>"$OUT/sums"; }
lvcreate -qq -n origin -L 24M cut "$1"
pattern /dev/cut/origin 0 24576
lvcreate -qq -s -n snap -c 4k -L 40M cut/origin "$2"
pattern /dev/cut/snap 100 12000
pattern /dev/cut/origin 8000 14000
# Every other chunk, so that the merge has thousands of steps.
python3 -c '
import os
disk = os.open("/dev/cut/snap", os.O_WRONLY)
for chunk in range(1, 6000, 2):
    os.pwrite(disk, os.urandom(4096), chunk * 4096)
os.fsync(disk)'
tell snap origin
lvcreate -qq -n moved -L 60M cut "$1"
pattern /dev/cut/moved 0 61440
tell moved moved
lvcreate -qq -n array --type raid5 -i 2 -I 16k -L 24M cut "$2" "$3" "$4"
# Held where it is, for the same reason as the move below.
until dmsetup status cut-array | grep -qE ' [1-9][0-9]*/24576'; do :; done
dmsetup message cut-array 0 frozen
pattern /dev/cut/array 0 24576
tell array array

echo 1 >/sys/module/dm_mirror/parameters/raid1_resync_throttle
echo 1 >/sys/module/dm_snapshot/parameters/snapshot_copy_throttle
# The move is held where it is: it could end before the merge begins.
pvmove -qq -b -n moved "$1" "$3"
until dmsetup status cut-pvmove0 | grep -qE ' [1-9][0-9]*/'; do :; done
dmsetup suspend --noflush cut-pvmove0
lvchange -qq -an cut/origin
lvconvert -qq -b --merge cut/snap
lvchange -qq -ay cut/origin
first=$(dmsetup status cut-origin | cut -d' ' -f4)
until [ "$(dmsetup status cut-origin | cut -d' ' -f4)" != "$first" ]; do sleep 0.02; done
dmsetup status >"$OUT/status"
touch "$OUT/cut"
sleep 60
