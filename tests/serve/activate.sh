# `activate` over real FUSE: what its users do to the files, and how it ends.
export XDG_RUNTIME_DIR=$PWD/run
mkdir -m 700 run
mkdir m other
respaldo() { "$RESPALDO" "$@"; }
on_disk() { respaldo -q --disk a.img "$@"; }
lvm() { on_disk lvm "$@"; }
sum() { sha256sum | cut -d' ' -f1; }
fail() { echo "FAILED: $*" && [ ! -e said ] || cat said; exit 1; }
# refused CODE WORDS COMMAND...: it ends with CODE and says WORDS.
refused() {
  local code=$1 words=$2 status=0
  shift 2
  "$@" >said 2>&1 || status=$?
  [ $status = "$code" ] || fail "$*: exit $status, not $code"
  grep -q -- "$words" said || fail "$*: does not say '$words'"
}
until_true() { for _ in $(seq 200); do "$@" && return; sleep 0.05; done; fail "never true: $*"; }
daemon_pid() { python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'; }
pid=""
finish() {
  fusermount3 -q -u -z m || true
  fusermount3 -q -u -z other || true
  [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
}
trap finish EXIT

truncate -s 160M a.img
lvm vgcreate -qq vg0 a.img
lvm lvcreate -n data -L 64M vg0
lvm lvcreate -n small-one -L 4M vg0

# In the background: the howto's tools work on the files.
pid=$(respaldo --json --disk a.img activate m | daemon_pid)
[ "$(ls m m/vg0 m/mapper | xargs)" = "m: mapper vg0 m/mapper: vg0-data vg0-small--one m/vg0: data small-one" ]
[ "$(readlink m/mapper/vg0-small--one)" = ../vg0/small-one ]
[ "$(stat -c %s m/vg0/data)" = 67108864 ]
mkfs.ext4 -q -F m/vg0/data
head -c 3000000 /dev/urandom >file
debugfs -w -R "write file kept" m/mapper/vg0-data 2>/dev/null
lvm lvcreate -s -n before -L 72M vg0/data # more than it can ever need
before=$(sum <m/vg0/before)
[ "$before" = "$(sum <m/vg0/data)" ]
debugfs -w -R "rm kept" m/vg0/data 2>/dev/null
head -c 5000000 /dev/urandom >file2
debugfs -w -R "write file2 later" m/vg0/data 2>/dev/null
dd if=/dev/urandom of=m/vg0/data bs=1000 seek=50001 count=333 conv=notrunc,fsync status=none # no chunk's border
[ "$(sum <m/vg0/before)" = "$before" ] || fail "the snapshot changed with its origin"
[ "$(sum <m/vg0/data)" != "$before" ]
debugfs -R "cat kept" m/vg0/before 2>/dev/null | cmp - file
debugfs -R "cat later" m/vg0/data 2>/dev/null | cmp - file2
e2fsck -fn m/vg0/before >said 2>&1 || fail "the snapshot's filesystem"
# What is in use is not taken away, and nobody is there to be asked.
exec 9<m/vg0/data
lvm lvs --noheadings -o lv_name,lv_attr | grep -q 'data *owi-aos' || fail "no volume is open"
refused 5 "in use" lvm lvremove -y vg0/data
exec 9<&-
refused 5 "-y" lvm lvremove vg0/small-one
refused 5 "insufficient\|Insufficient" lvm lvcreate -n huge -L 1G vg0
dd if=/dev/zero of=m/vg0/small-one bs=1M count=5 conv=notrunc status=none 2>said && fail "writing past the end"
grep -q "No space left" said || fail "the end of a volume"
lvm lvextend -qq -L 8M vg0/small-one
[ "$(stat -c %s m/vg0/small-one)" = 8388608 ]

# Others are served by it, or told who has the images.
[ "$(on_disk dump vg0/before | sum)" = "$before" ]
refused 11 "served at $PWD/m" on_disk activate other
refused 2 "not a folder" on_disk activate a.img
data=$(sum <m/vg0/data)
fusermount3 -u m
[ "$(on_disk dump vg0/before | sum)" = "$before" ] || fail "right after the end: the snapshot"
[ "$(on_disk dump vg0/data | sum)" = "$data" ] || fail "right after the end: the volume"
until_true test ! -e /proc/$pid
[ -z "$(ls run/respaldo)" ] || fail "left behind: $(ls run/respaldo)"

# In the foreground: a signal unmounts when nobody uses the files any more, and all is on the image.
"$RESPALDO" --disk a.img activate m --foreground >foreground 2>&1 &
pid=$!
until_true mountpoint -q m
grep -q "serving at" foreground
exec 9<>m/vg0/small-one
echo written-late >&9
kill -TERM $pid
until_true grep -q "still in use" foreground
mountpoint -q m || fail "unmounted under its users"
exec 9>&-
status=0
wait $pid || status=$?
pid=""
[ $status = 0 ] || fail "the foreground ended with $status"
mountpoint -q m && fail "still mounted"
on_disk dump vg0/small-one -o small
[ "$(head -c 12 small)" = written-late ]

# A snapshot that dies is told at the end, and as long as it is there.
lvm lvcreate -n watched -L 4M vg0
lvm lvcreate -s -n short -L 4M vg0/watched
"$RESPALDO" --disk a.img activate m --foreground >foreground 2>&1 &
pid=$!
until_true mountpoint -q m
dd if=/dev/urandom of=m/vg0/watched bs=1M count=4 conv=notrunc,fsync status=none
lvm lvs --noheadings -o lv_attr vg0/short | grep -q "swi-I" || fail "the dead snapshot looks alive"
fusermount3 -u m
status=0
wait $pid || status=$?
pid=""
[ $status = 21 ] || fail "an activation with a dead snapshot ended with $status"
grep -q "died while it was served: snapshot vg0/short" foreground || fail "who died: $(cat foreground)"
grep -q lvremove foreground
lvm lvremove -y vg0/watched

# Where fusermount3 cannot be run, a signal does not kill what still serves.
mkdir bin
ln -s "$(command -v fusermount3)" bin/fusermount3
PATH=$PWD/bin "$RESPALDO" --disk a.img activate m --foreground >foreground 2>&1 &
pid=$!
until_true mountpoint -q m
rm bin/fusermount3
echo still-served | dd of=m/vg0/small-one conv=notrunc status=none
exec 9<m/vg0/small-one
kill -TERM $pid
until_true grep -q "unmount\|still in use" foreground
exec 9<&-
fusermount3 -u m 2>/dev/null || true # unless root has done it by then
status=0
wait $pid || status=$?
pid=""
[ $status = 0 ] || fail "without fusermount3 it ended with $status: $(cat foreground)"
on_disk dump vg0/small-one -o small2
[ "$(head -c 12 small2)" = still-served ]

# Somebody else has the image.
flock -x a.img sleep 30 &
locker=$!
until_true sh -c '! flock -n a.img true'
refused 11 "is locked by" on_disk dump vg0/data
refused 11 "is locked by" on_disk activate m
kill "$locker" $(pgrep -P "$locker") 2>/dev/null || true
wait "$locker" 2>/dev/null || true

# Read-only: nothing changes, and other readers are welcome.
before_image=$(sum <a.img)
pid=$(respaldo --json --disk a.img activate --read-only m | daemon_pid)
[ "$(sum <m/vg0/before)" = "$before" ]
dd if=/dev/zero of=m/vg0/data bs=4k count=1 conv=notrunc status=none 2>said && fail "written through --read-only"
grep -qi "read-only" said || fail "why a write was refused"
[ "$(on_disk dump vg0/before | sum)" = "$before" ]
refused 11 "is locked by" lvm lvcreate -n more -L 4M vg0
fusermount3 -u m
until_true test ! -e /proc/$pid
[ "$(sum <a.img)" = "$before_image" ] || fail "a read-only activation wrote"

# Killed in the middle of writing: the image is sound, the next command works, and a new activation says what to do.
pid=$(respaldo --json --disk a.img activate m | daemon_pid)
(while dd if=/dev/urandom of=m/vg0/data bs=64k seek=$((RANDOM % 900)) count=20 conv=notrunc,fsync; do :; done) >/dev/null 2>&1 &
writer=$!
sleep 1
kill -9 "$pid"
wait $writer || true
until_true test ! -e /proc/$pid
lvm vgck vg0
[ "$(on_disk dump vg0/before | sum)" = "$before" ] || fail "the snapshot after SIGKILL"
refused 11 "fusermount3 -u $PWD/m" on_disk activate m
fusermount3 -u m
pid=$(respaldo --json --disk a.img activate m | daemon_pid)
[ "$(sum <m/vg0/before)" = "$before" ]
fusermount3 -u m
lvm lvremove -y vg0/data
[ -z "$(lvm lvs --noheadings -o lv_name | grep -v small-one)" ]
