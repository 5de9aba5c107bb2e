# Bases that were away while the volume was written, and where their stores lie, by lvm2 itself.
export RESPALDO_REPOSITORY=/run/repository RESPALDO_PASSWORD=secret RESPALDO_STATE=/run/respaldo TMPDIR=/run
set -- $DISKS
quiet pvcreate -q "$1" "$2" >/dev/null
quiet vgcreate -q vg "$1" "$2" >/dev/null
quiet lvcreate -q -L 32M -n home vg "$1" >/dev/null
quick_init

fail() { echo "FAILED: $*" >&2; exit 1; }
backup() { "$RESPALDO" --json backup vg/home --cow 16M "$@" >/run/saved 2>/run/events || { cat /run/events; fail "backup $*"; }; }
field() { python3 -c "import json; b = json.load(open('/run/saved')); v = b['volumes'][0]; print($1)"; }
base() { lvs --noheadings -o lv_name --select 'lv_tags=respaldo_base && origin=home' vg | xargs; }
write() { dd if=/dev/urandom of=/dev/vg/home bs=1M seek=7 count=4 oflag=direct conv=notrunc status=none; }
# Everything is read, since WHY.
refused() {
  backup --keep-base
  [ "$(field "'$1' in v.get('base_refused', '') and 'base_used' not in v")" = True ] || fail "not $1: $(cat /run/saved)"
  "$RESPALDO" cat latest /vg/home/image.raw | cmp - /dev/vg/home || fail "$1: the backup is not the volume"
}
# The group as it was when `vgcfgbackup` saw it.
bring_back() {
  quiet vgchange -q -an vg >/dev/null
  quiet vgcfgrestore -q -f /run/old vg >/dev/null
  quiet vgchange -q -ay vg >/dev/null
}

write
backup --keep-base
vgcfgbackup -q -f /run/old vg >/dev/null
quiet lvremove -q -f vg/"$(base)" >/dev/null # by mistake
backup --keep-base
write
bring_back
refused "kept is gone"

vgcfgbackup -q -f /run/old vg >/dev/null
"$RESPALDO" base remove vg/home --yes >/dev/null
write
bring_back
refused "has come back"

base=$(base)
quiet lvconvert -q -y --splitsnapshot "vg/$base" >/dev/null
write
lvconvert -q -y -s vg/home "$base" >/dev/null 2>&1
[ "$(base)" = "$base" ] || fail "it is not attached again"
refused "attached again"

# On the disk of the volume alone.
[ "$(lvs --noheadings -o devices "vg/$(base)" | grep -c "$1(")" = 1 ] || fail "$(lvs -a -o +devices)"
"$RESPALDO" base remove vg/home --yes >/dev/null
quiet lvcreate -q -l 100%PVS -n filler vg "$1" >/dev/null
backup --keep-base
[ "$(field "v['base_kept']")" = False ] || fail "a base on another disk: $(lvs -a -o +devices)"
grep -q "its COW store lies on $2, since there was no room for it where vg/home lies" /run/events || fail "not told: $(cat /run/events)"
[ -z "$(base)" ] || fail "a base is there: $(lvs -a -o +devices)"
[ "$(lvs --noheadings -o lv_name vg | wc -l)" = 2 ] || fail "something is left: $(lvs -a)"
echo "bases that were away are refused"
