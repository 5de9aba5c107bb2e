# Thick and thin volumes of a live host, night after night with bases.
export RESPALDO_REPOSITORY=$OUT/repository RESPALDO_PASSWORD=secret RESPALDO_STATE=/run/respaldo
set -- $DISKS
quiet pvcreate -q "$1" "$2" >/dev/null
quiet vgcreate -q vg "$1" "$2" >/dev/null
quiet lvcreate -q -L 256M -n thick vg >/dev/null
lvcreate -q -L 400M -T vg/pool >/dev/null 2>&1
lvcreate -q -V 256M -T vg/pool -n thin >/dev/null 2>&1
mkdir -p /run/mnt
quick_init

fail() { echo "FAILED: $*" >&2; exit 1; }
# backup LV WORDS...: leaves the result in /run/LV.json.
backup() {
  local lv=$1
  shift
  "$RESPALDO" --json backup "vg/$lv" "$@" >"/run/$lv.json" 2>/run/events || { cat /run/events; fail "backup $lv $*"; }
}
# field LV EXPRESSION: of that result.
field() { python3 -c "import json; b = json.load(open('/run/$1.json')); v = b['volumes'][0]; print($2)"; }
bases() { lvs --noheadings -o lv_name --select "lv_tags=respaldo_base && origin=$1" vg | wc -l; }
strays() { lvs --noheadings -o lv_name --select 'lv_name=~^respaldo_ && lv_tags!=respaldo_base' vg; }
for lv in thick thin; do
  device=/dev/vg/$lv
  mkfs.ext4 -q "$device"
  mount "$device" /run/mnt
  for i in $(seq 40); do head -c $((i * 80000)) /dev/urandom >"/run/mnt/file$i"; done
  sync
  # Written to all the while: the kept base is what was saved.
  (while [ ! -e /run/stop ]; do
     dd if=/dev/urandom of=/run/mnt/busy bs=100k count=3 conv=notrunc,fsync status=none
   done) &
  backup $lv --keep-base --all-blocks
  [ "$(bases $lv)" = 1 ] || fail "no base of $lv is kept"
  head -c 700000 /dev/urandom >/run/mnt/file7
  backup $lv --keep-base --all-blocks
  touch /run/stop
  wait
  rm /run/stop
  [ "$(field $lv "v['base_used']['source']")" = $lv ] || fail "the base of $lv is not used: $(cat /run/$lv.json)"
  [ "$(field $lv "v['bytes_read'] < 60000000")" = True ] || fail "$lv: $(field $lv "v['bytes_read']") bytes are read"
  [ "$(bases $lv)" = 1 ] || fail "the old base of $lv is still there"
  base=$(lvs --noheadings -o lv_name --select "lv_tags=respaldo_base && origin=$lv" vg | xargs)
  lvchange -q -ay -K "vg/$base" 2>/dev/null || true
  "$RESPALDO" cat latest "/vg/$lv/image.raw" | cmp - "/dev/vg/$base" || fail "$lv: the backup is not the snapshot"

  # At rest: about one percent changes, and the increment is what a full backup is.
  for night in 1 2; do
    rm "/run/mnt/file$((night + 10))"
    for i in 1 2 3; do head -c 400000 /dev/urandom >"/run/mnt/fresh$night-$i"; done
    umount /run/mnt
    backup $lv --keep-base
    [ "$(field $lv "v['base_used']['source']")" = $lv ] || fail "the base of $lv is not used: $(cat /run/$lv.json)"
    read=$(field $lv "v['bytes_read']")
    # On so small a volume the chunks of 1 MiB that hold a changed block of metadata weigh more than the files.
    if [ $night = 2 ]; then [ "$read" -lt $((256 * 1048576 * 6 / 100)) ] || fail "$lv: $read bytes are read"; fi
    increment=$(field $lv "b['backup']")
    backup $lv --full
    echo "vg/$lv $increment $(field $lv "b['backup']") $read" >>"$OUT/pairs"
    mount "$device" /run/mnt
  done
  umount /run/mnt
done

# A metadata snapshot that somebody else holds: told, and everything is read.
dmsetup message vg-pool-tpool 0 reserve_metadata_snap
backup thin
[ "$(field thin "'metadata snapshot' in v['base_refused'] and 'base_used' not in v")" = True ] || fail "$(cat /run/thin.json)"
dmsetup message vg-pool-tpool 0 release_metadata_snap
backup thin
[ "$(field thin "'base_used' in v")" = True ] || fail "$(cat /run/thin.json)"
dmsetup status vg-pool-tpool | grep -q ' - rw' || fail "a metadata snapshot is left: $(dmsetup status vg-pool-tpool)"

# A base that overflows: told, everything is read, a new base takes its place.
backup thick --keep-base --cow 8M
dd if=/dev/urandom of=/dev/vg/thick bs=1M seek=100 count=16 oflag=direct conv=notrunc status=none
backup thick --keep-base --raw
[ "$(field thick "'overflow' in v['base_refused'] and 'base_used' not in v")" = True ] || fail "$(cat /run/thick.json)"
[ "$(bases thick)" = 1 ] || fail "the dead base is still there"

# A snapshot that only says that it is the base.
base=$(lvs --noheadings -o lv_name --select 'lv_tags=respaldo_base && origin=thick' vg | xargs)
tags=$(lvs --noheadings -o lv_tags "vg/$base" | xargs)
lvremove -q -f "vg/$base" >/dev/null
pattern /dev/vg/thick 150000 64
lvcreate -q -s -L 8M -n forged vg/thick >/dev/null
for tag in $(echo "$tags" | tr , ' '); do lvchange -q --addtag "$tag" vg/forged >/dev/null; done
backup thick --raw
[ "$(field thick "'UUID' in v['base_refused']")" = True ] || fail "$(cat /run/thick.json)"
"$RESPALDO" base remove vg/thick --yes >/dev/null
"$RESPALDO" base remove vg/thin --yes >/dev/null
[ -z "$(strays)" ] || fail "left behind: $(strays)"
