# What thick and thin bases of a live host tell: every block that differs, and not much more.
set -- $DISKS
quiet pvcreate -q "$1" >/dev/null
quiet vgcreate -q vg "$1" >/dev/null
quiet lvcreate -q -L 64M -n thick vg >/dev/null
lvcreate -q -L 160M -T vg/pool >/dev/null 2>&1
lvcreate -q -V 64M -T vg/pool -n thin >/dev/null 2>&1
fail() { echo "FAILED: $*" >&2; exit 1; }

# told ORIGIN BASE SNAPSHOT UNIT: the ranges hold every 4 KiB block in which the two differ, and are at most what the
# differing units make.
told() {
  "$BASE_TOOL" vg "$1" "$3" >/run/told || fail "base_tool $*"
  cat "/dev/vg/$2" >"$OUT/before"
  cat "/dev/vg/$3" >"$OUT/after"
  python3 - "$4" <<'PY' || fail "$*: $(head -3 /run/told)"
import sys
unit = int(sys.argv[1])
ranges = [tuple(map(int, line.split())) for line in open("/run/told")]
before, after = open("before", "rb").read(), open("after", "rb").read()
assert len(before) == len(after) == 64 << 20
changed = bytearray(len(before) // 4096)
for offset, length in ranges:
    for block in range(offset // 4096, (offset + length + 4095) // 4096):
        changed[block] = 1
units = set()
for block in range(len(changed)):
    at = block * 4096
    if before[at:at + 4096] != after[at:at + 4096]:
        assert changed[block], f"block {block} differs and is not told"
        units.add(at // unit)
assert units, "nothing differs: this proves nothing"
# What was discarded is told, whatever it reads as.
assert sum(changed) * 4096 <= (len(units) + 40) * unit + (1 << 20), f"{sum(changed)} blocks are told"
PY
}
base_tags="--addtag respaldo_base --addtag respaldo_base_0123456789abcdef0123456789abcdef"

for kind in thick thin; do
  pattern /dev/vg/$kind 0 20000
  if [ $kind = thick ]; then size="-L 24M" unit=4096; else size="-K" unit=65536; fi
  lvcreate -q -s $size -ay -n base-$kind $base_tags vg/$kind >/dev/null 2>&1
  pattern /dev/vg/$kind 400 40
  pattern /dev/vg/$kind 8000 400
  pattern /dev/vg/$kind 40000 64
  dd if=/dev/urandom of=/dev/vg/$kind bs=512 seek=100001 count=3 conv=notrunc,fsync status=none
  blkdiscard -o $((9000 * 1024)) -l $((1024 * 1024)) /dev/vg/$kind 2>/dev/null || pattern /dev/vg/$kind 9000 1024
  lvcreate -q -s $size -ay -n now-$kind vg/$kind >/dev/null 2>&1
  # Written while the table is read.
  (for i in 1 2 3 4 5 6; do pattern /dev/vg/$kind $((50000 + i * 300)) 64; done) &
  told $kind base-$kind now-$kind $unit
  wait
done

# thin_delta, on a metadata snapshot of its own, agrees.
rm "$OUT/before" "$OUT/after"
"$BASE_TOOL" vg thin now-thin >/run/told
dmsetup message vg-pool-tpool 0 reserve_metadata_snap
ids=$(lvs --noheadings -o thin_id vg/base-thin vg/now-thin | xargs)
thin_delta --metadata-snap --thin1 "${ids% *}" --thin2 "${ids#* }" /dev/mapper/vg-pool_tmeta >/run/delta
# While it is there, ours is refused, and theirs is left alone.
"$BASE_TOOL" vg thin now-thin | grep -q '^refused: somebody else holds a metadata snapshot' || fail "not refused"
dmsetup message vg-pool-tpool 0 release_metadata_snap
python3 - <<'PY' || fail "thin_delta sees other changes"
import re
def blocks(pairs):
    return {b for begin, length in pairs for b in range(begin, begin + length)}
told = blocks((int(o) // 65536, int(n) // 65536) for o, n in (line.split() for line in open("/run/told")))
delta = blocks((int(b), int(n)) for b, n in
               re.findall(r'<(?:left_only|right_only|different) begin="(\d+)" length="(\d+)"', open("/run/delta").read()))
assert told == delta and told, (len(told), len(delta))
PY
dmsetup status vg-pool-tpool | grep -q ' - rw' || fail "a metadata snapshot is left"

# One that overflows is dead, whatever is left of its table.
pattern /dev/vg/thick 0 30000
"$BASE_TOOL" vg thick now-thick | grep -q '^refused: it is dead' || fail "a dead base is believed: $("$BASE_TOOL" vg thick now-thick | head -2)"
