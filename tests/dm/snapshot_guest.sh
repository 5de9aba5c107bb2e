# One step of snapshots.sh: loads the origin (first disk) and two snapshots of it, does STEP, leaves sums and statuses.
set -- $DISKS
sectors=$(blockdev --getsz "$1")
dmsetup create real --table "0 $sectors linear $1 0"
origin() { dmsetup create origin --table "0 $sectors snapshot-origin /dev/mapper/real"; }
snapshots() {
  dmsetup create one --table "0 $sectors snapshot /dev/mapper/real $1 P 8"
  dmsetup create two --table "0 $sectors snapshot /dev/mapper/real $2 P 32"
}
tell() {
  for name in origin one two; do
    sum=$(sha256sum </dev/mapper/$name | cut -d' ' -f1)
    echo "$name ${sum:-unreadable}" >>"$OUT/sums"
  done
  for name in one two; do dmsetup status $name | cut -d' ' -f4- >"$OUT/status.$name"; done
}
case "$STEP" in
  write)
    snapshots "$2" "$3"
    origin
    pattern /dev/mapper/origin 64 2000
    pattern /dev/mapper/one 500 40
    pattern /dev/mapper/two 8000 100
    pattern /dev/mapper/origin 7900 1800
    pattern /dev/mapper/origin 12288 4096
    tell
    ;;
  overflow)
    snapshots "$2" "$3"
    origin
    pattern /dev/mapper/origin 64 2000
    tell
    ;;
  look)
    snapshots "$2" "$3"
    origin
    tell
    ;;
  merge)
    dmsetup create two --table "0 $sectors snapshot /dev/mapper/real $3 P 32"
    dmsetup create origin --table "0 $sectors snapshot-merge /dev/mapper/real $2 P 8"
    until dmsetup status origin | grep -qE ' ([0-9]+)/[0-9]+ \1$'; do sleep 0.2; done
    sha256sum </dev/mapper/origin | cut -d' ' -f1 >"$OUT/merged"
    ;;
esac
dmsetup remove_all
