# Images restored onto volumes of the running system: made for it, overwritten, refused; killed, stopped, and on a disk
# that lies.
. "${GUEST%/*}/words.sh"
set -- $DISKS
first=$1 second=$2 third=$3
head -c 200M /dev/urandom >"$second" # what lay on the disk before must not show through
vgcreate -qq vg-a.b "$first" "$second"
lvcreate -qqy -n ro-ot.1 -L 50M vg-a.b "$first"
V=vg-a.b/ro-ot.1
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m /run/n
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
head -c 12M /dev/urandom >/run/m/noise
sync
python3 "${HARNESS%/harness}/files/manifest.py" /run/m >/run/saved.files
quick_init
expect 0 "$RESPALDO" backup $V

# Made where it is told to be, with identical files and a clean filesystem.
expect 1 "$RESPALDO" restore latest --to vg-a.b/back --yes
says "there is no volume vg-a.b/back"
expect 0 "$RESPALDO" --json restore latest --to vg-a.b/back --create --pv "$second" --verify
says '"created":true.*"verified":true'
[ "$(lvs --noheadings -o devices vg-a.b/back | tr -d ' ')" = "$second(0)" ]
[ -z "$(lvs --noheadings -o lv_tags vg-a.b/back | tr -d ' ')" ]
nothing_left
"$RESPALDO" -q restore latest --to-file /run/image
cmp /run/image /dev/vg-a.b/back
e2fsck -fn /dev/vg-a.b/back
mount -o noatime /dev/vg-a.b/back /run/n
python3 "${HARNESS%/harness}/files/manifest.py" /run/n >/run/restored.files
python3 "${HARNESS%/harness}/files/manifest.py" --compare /run/saved.files /run/restored.files allocated atime

# What is in use, or too small, is refused before anybody is asked; nothing is written.
expect 11 "$RESPALDO" restore latest --to vg-a.b/back --create --yes
says "mounted on /run/n"
umount /run/n
sha256sum /dev/vg-a.b/back >/run/sum
exec 9</dev/vg-a.b/back
expect 11 "$RESPALDO" restore latest --to vg-a.b/back --yes
says "open in process"
exec 9<&-
dmsetup create above --table "0 8 linear /dev/vg-a.b/back 0"
expect 11 "$RESPALDO" restore latest --to vg-a.b/back --yes
says "below above"
dmsetup remove above
expect 1 "$RESPALDO" restore latest --to vg-a.b/back
says "not done without a yes"
sha256sum -c /run/sum
lvcreate -qqy -n sw-ap -L 52M vg-a.b
mkswap /dev/vg-a.b/sw-ap
swapon /dev/vg-a.b/sw-ap
expect 11 "$RESPALDO" restore latest --to vg-a.b/sw-ap --yes
says "swap"
swapoff /dev/vg-a.b/sw-ap
lvremove -qq -y vg-a.b/sw-ap
lvcreate -qqy -n small -L 8M vg-a.b
expect 1 "$RESPALDO" restore latest --to vg-a.b/small --yes
says "small has 8.00 MiB, the backup of .* needs 52.00 MiB"

# No room: told before anything is made.
lvcreate -qqy -n full -l 100%FREE vg-a.b
expect 1 "$RESPALDO" restore latest --to vg-a.b/new --create
says "the volume needs 52.00 MiB"
lvremove -qq -y vg-a.b/full
expect 1 "$RESPALDO" restore latest --to vg-a.b/new --create --pv /dev/nothing
says "has no physical volume /dev/nothing"
expect 1 "$RESPALDO" restore latest --to vg-a.b/back --create --pv "$second" --yes
says "is there already"

# Killed: clean removes it, or the same command again begins anew. Stopped: it goes at once.
for step in "volume made" "volume written"; do
  export RESPALDO_CRASH_AT="$step"
  expect 137 "$RESPALDO" restore latest --to vg-a.b/new --create
  unset RESPALDO_CRASH_AT
  lvs vg-a.b/new
  if [ "$step" = "volume made" ]; then
    expect 0 "$RESPALDO" clean
    says "removed volume vg-a.b/new"
    refused lvs vg-a.b/new
    nothing_left
  fi
done
expect 0 "$RESPALDO" restore latest --to vg-a.b/new --create
cmp /run/image /dev/vg-a.b/new # the other one has been mounted
rm /run/image
expect 0 "$RESPALDO" clean
nothing_left
lvremove -qq -y vg-a.b/new
# A backup leaves it alone, and once something is restored onto it it is nobody's leftover.
export RESPALDO_CRASH_AT="volume written"
expect 137 "$RESPALDO" restore latest --to vg-a.b/new --create
unset RESPALDO_CRASH_AT
expect 0 "$RESPALDO" backup $V
says "respaldo clean. removes it"
expect 0 "$RESPALDO" restore latest --to vg-a.b/new --yes
expect 0 "$RESPALDO" clean
nothing_left
lvremove -qq -y vg-a.b/new
hold "volume made" "$RESPALDO" restore latest --to vg-a.b/new --create
kill -TERM $held
release
[ $status = 130 ]
refused lvs vg-a.b/new
nothing_left

# A disk that loses what it is given: --verify tells. One that refuses: an error, and the new volume goes.
sectors=$((70 * 2048))
dmsetup create flaky --table "0 $sectors linear $third 2048"
vgcreate -qq vg1 /dev/mapper/flaky
lvcreate -qqy -n there -L 52M vg1
for fault in drop_writes error_writes; do
  dmsetup suspend flaky
  dmsetup reload flaky --table "0 $sectors flakey $third 2048 0 600 1 $fault"
  dmsetup resume flaky
  if [ $fault = drop_writes ]; then
    expect 0 "$RESPALDO" restore latest --to vg1/there --yes
    expect 20 "$RESPALDO" restore latest --to vg1/there --yes --verify
    says "does not read back as it was written"
  else
    expect 1 "$RESPALDO" restore latest --to vg1/there --yes
    says "vg1-there"
  fi
done
umount /run/m
