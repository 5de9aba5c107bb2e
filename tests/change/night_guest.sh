# A night on a large volume, thick and thin: 1 % of its blocks are written again through the mounted filesystem, in files of
# 4 MiB. By hand:
#   tests/harness/scenario --disk 11G --disk 11G --guest $PWD/tests/change/night_guest.sh --host $PWD/tests/change/bases_host.sh
# (GUEST_LIMIT=3600, and the environment that CMakeLists.txt gives to scenarios; SIZE is in MiB).
# What is read, and the times of an increment and a full backup, are in $OUT/figures. Beside restic: bench/nightly.
export RESPALDO_REPOSITORY=$OUT/repository RESPALDO_PASSWORD=secret RESPALDO_STATE=/run/respaldo TMPDIR=/run
set -- $DISKS
set +x
SIZE=${SIZE:-8192}
vgcreate -qq thick "$1"
vgcreate -qq thin "$2"
lvcreate -qqy -n volume -L ${SIZE}M thick
lvcreate -qqy -L $((SIZE + 512))M --poolmetadatasize 64M -T thin/pool
lvcreate -qqy -V ${SIZE}M -T thin/pool -n volume
mkdir -p /run/mnt
quick_init

fail() { echo "FAILED: $*" >&2; exit 1; }
# timed NAME COMMAND...: its milliseconds are in $took.
timed() {
  local begun=$(date +%s%N)
  "$@"
  took=$(($(date +%s%N) / 1000000 - begun / 1000000))
}
backup() { "$RESPALDO" --json -q backup "$@" >/run/result 2>/run/events || { cat /run/events; fail "backup $*"; }; }
field() { python3 -c "import json; b = json.load(open('/run/result')); v = b['volumes'][0]; print($1)"; }
# Files of 4 MiB that are half random, half text; every one has bytes of its own.
fill() { # fill FIRST LAST
  python3 - "$@" <<'PY'
import os, random, sys
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    half = os.urandom(2 << 20)
    line = b"%d %d the quick brown fox\n" % (n, random.getrandbits(40))
    with open(f"/run/mnt/f{n}", "r+b" if os.path.exists(f"/run/mnt/f{n}") else "wb") as f:
        f.write(half + (line * ((2 << 20) // len(line) + 1))[:2 << 20])
        os.fsync(f.fileno())
PY
}
for vg in thick thin; do
  device=/dev/$vg/volume
  cow=$([ $vg = thin ] || echo "--cow=512M")  # with --cow, a thin volume gets a thick snapshot
  mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$device"
  mount "$device" /run/mnt
  fill 0 $((SIZE / 8))
  sync
  timed backup $vg/volume --keep-base $cow
  echo "$vg: first backup: $took ms, $(field "v['bytes_read']") bytes read"
  # The percent, in files by chance.
  for n in $(python3 -c "import random; print(*random.Random(1).sample(range($SIZE // 8), max(1, $SIZE // 400)))"); do fill $n $((n + 1)); done
  umount /run/mnt  # so that the full backup below sees the same
  timed backup $vg/volume --keep-base $cow
  increment=$took read=$(field "v['bytes_read']") id=$(field "b['backup']")
  [ "$(field "v['base_used']['source']")" = $vg ] || fail "$(cat /run/result)"
  timed backup $vg/volume --full
  echo "$vg: increment: $increment ms, $read bytes read, $((read * 10000 / (SIZE * 1048576))) hundredths of a percent;" \
    "full: $took ms" >>"$OUT/figures"
  echo "$vg/volume $id $(field "b['backup']") $read" >>"$OUT/pairs"
  [ $((read * 100)) -lt $((SIZE * 1048576 * 3)) ] || fail "$vg: $read bytes are read"
  "$RESPALDO" base remove $vg/volume --yes >/dev/null
done
