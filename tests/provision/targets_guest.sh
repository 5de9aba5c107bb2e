# target create, status and remove on real disks. Nothing of the host is touched: mount points and fstab lie in the guest's /run.
export RESPALDO_STATE=/run/state RESPALDO_PASSWORD=secret RESPALDO_FSTAB=/run/fstab
respaldo() { "$RESPALDO" "$@"; }
# fails CODE WORDS COMMAND...: ends with that code and says these words.
fails() {
  local code=$1 words=$2 status=0
  shift 2
  "$RESPALDO" "$@" >said 2>&1 || status=$?
  [ $status = "$code" ] || { echo "exit $status, not $code: $*" && cat said && return 1; }
  grep -q -e "$words" said || { echo "did not say '$words': $*" && cat said && return 1; }
}
# untouched DISK: nothing is left of what was begun there.
untouched() {
  [ -z "$(wipefs --noheadings "$1")" ]
  [ ! -e "${1}1" ]
  [ "$(cat /run/fstab)" = "# the host" ]
  [ ! -e "$2" ]
  [ -z "$(pvs --noheadings -o pv_name | grep "$1")" ]
  [ -z "$(vgs --noheadings -o vg_name | grep backup)" ]
  [ -z "$(ls /run | grep 'fstab\.')" ]
}
set -- $DISKS
first=$1 second=$2 third=$3 fourth=$4 fifth=$5 sixth=$6
sed -i 's#"a|^/dev/mapper/|"#"a|^/dev/mapper/|","a|^/dev/loop|"#; s#filter=\[#filter=["r|^'"$sixth"'|",#' /run/lvmsys/lvm.conf
echo "# the host" >/run/fstab
vgcreate -q vg0 "$first"
lvcreate -qy -L 32M -n root vg0
mkfs.ext4 -q /dev/vg0/root
mkdir /run/root && mount /dev/vg0/root /run/root
mkfs.ext4 -q -L photos "$third"

# A dry run shows everything and does nothing.
respaldo target create "$second" --mount /run/backups --dry-run >plan
grep -q "now *empty" plan
grep -q "pvcreate --dataalignment 1024k ${second}1" plan
grep -q "nofail" plan
untouched "$second" /run/backups
fails 1 "not done without a yes" target create "$second" --mount /run/backups

# What fails in the middle is undone: mkfs, mount, and a stop while mkfs works.
mkdir /run/bin
printf '#!/bin/sh\n[ "$1" = -V ] && exit 0\necho broken >&2; exit 1\n' >/run/bin/mkfs.ext4
cp /run/bin/mkfs.ext4 /run/bin/mount
chmod +x /run/bin/*
mv /run/bin/mount /run/mount.broken
real=$PATH
PATH=/run/bin:$real
fails 1 "everything that was done has been undone" target create "$second" --mount /run/backups -y
untouched "$second" /run/backups
PATH=$real
mv /run/bin/mkfs.ext4 /run/mkfs.broken && mv /run/mount.broken /run/bin/mount
PATH=/run/bin:$real
fails 1 "everything that was done has been undone" target create "$second" --mount /run/backups -y
PATH=$real
untouched "$second" /run/backups
rm /run/bin/mount
printf '#!/bin/sh\n[ "$1" = -V ] && exit 0\ntouch /run/begun; exec sleep 100\n' >/run/bin/mkfs.ext4 && chmod +x /run/bin/mkfs.ext4
PATH=/run/bin:$real "$RESPALDO" target create "$second" --mount /run/backups -y >said 2>&1 &
pid=$!
while [ ! -e /run/begun ]; do sleep 0.2; done
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status = 130 ] || { cat said
false; }
untouched "$second" /run/backups
rm /run/bin/mkfs.ext4

# The real one.
respaldo target create "$second" --mount /run/backups --yes
mountpoint -q /run/backups
[ "$(pvs --noheadings --units b --nosuffix -o pe_start "${second}1" | tr -d ' ')" = 1048576 ]
[ "$(cat /sys/block/${second#/dev/}/${second#/dev/}1/start)" = 2048 ]
[ "$(blkid -p -s PART_ENTRY_TYPE -o value "${second}1")" = e6d6d379-f507-44c2-a23c-238f2a3df928 ]
lvs --noheadings -o vg_name,lv_tags backup/backups | tr -s ' ' | grep -q '^ backup backup_target,respaldo_run_[0-9a-f]*$'
grep -q "^UUID=$(blkid -s UUID -o value /dev/backup/backups) /run/backups ext4 defaults,nofail,x-systemd.device-timeout=10s,x-respaldo.target=backup/backups 0 2$" /run/fstab
[ "$(head -1 /run/fstab)" = "# the host" ]
[ "$(cat /run/fstab.before-respaldo-*)" = "# the host" ]
respaldo -r /run/backups/repository list
restic -r /run/backups/repository --password-command "echo secret" --no-cache check >/dev/null
e2fsck -fn /dev/backup/backups >/dev/null 2>&1 || true
respaldo -r /run/backups/repository doctor vg0/root >doctor
grep -q "the repository is on no disk of these volumes" doctor

# Disks that hold something, and disks in use.
fails 1 'ext4 "photos"' target create "$third" --mount /run/two --vg two -y
fails 11 "in use" target create "$second" --mount /run/two --vg two -y
fails 11 "in use" target create "$first" --destroy "$first" --mount /run/two --vg two -y
fails 11 "mounted at /run/root" target create "$first" --destroy "$first" --mount /run/two --vg two -y
fails 11 "in use" target create "$second" --destroy "$second" --mount /run/two --vg two -y
fails 2 "is a partition" target create "${second}1" --mount /run/two --vg two -y
fails 1 "no disk /dev/nothing" target create /dev/nothing --mount /run/two --vg two -y
fails 1 "there is a volume group backup already" target create "$fourth" --mount /run/two -y
fails 1 "mounted at /run/backups already" target create "$fourth" --mount /run/backups --vg two -y
fails 2 "--destroy names" target create "$third" --destroy "$second" --mount /run/two --vg two -y
[ "$(blkid -s LABEL -o value "$third")" = photos ]
head -c 100 /dev/urandom | dd of="$fourth" bs=1k seek=8 conv=notrunc,fsync status=none
fails 1 "nothing is known of" target create "$fourth" --mount /run/two --vg two -y
dd if=/dev/zero of="$fourth" bs=1k seek=8 count=1 conv=notrunc,fsync status=none
# A group that would be hidden, and a folder that is not empty.
mkdir /run/full && touch /run/full/file
fails 1 "is not empty" target create "$fourth" --mount /run/full --vg two -y

# What only the kernel knows of: the second disk of a mounted btrfs, and a partition that a program holds. Nothing is wiped.
mkfs.btrfs -q -f -d single -m raid1 "$fourth" "$fifth"
mkdir /run/pair && mount -o device="$fifth" "$fourth" /run/pair
fails 11 "is in use" target create "$fifth" --destroy "$fifth" --mount /run/two --vg two -y
[ "$(blkid -p -s TYPE -o value "$fifth")" = btrfs ]
umount /run/pair
wipefs -qa "$fourth"
echo "2048,100000" | sfdisk -q "$fifth"
mkfs.ext4 -q -F "${fifth}1"
python3 -c 'import os, sys, time; held = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL); print("held", flush=True); time.sleep(100)' "${fifth}1" >held &
holder=$!
while [ ! -s held ]; do sleep 0.2; done
fails 11 "is in use" target create "$fifth" --destroy "$fifth" --mount /run/two --vg two -y
[ "$(blkid -p -s TYPE -o value "${fifth}1")" = ext4 ]
kill $holder
wait $holder || true
# What another put there while the question waited is not destroyed; what was shown is.
cat >asked.py <<'END'
import os, pty, subprocess, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(os.environ["RESPALDO"], ["respaldo"] + sys.argv[2:])
said = b""
while b"[y/N]" not in said:
    said += os.read(terminal, 4096)
subprocess.run(sys.argv[1], shell=True, check=True)
os.write(terminal, b"y\n")
try:
    while more := os.read(terminal, 4096):
        said += more
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
status=0
python3 asked.py "mkfs.ext4 -q -F ${fifth}1" target create "$fifth" --destroy "$fifth" --mount /run/two --vg two >said || status=$?
grep -q "not as it was shown" said || { cat said && false; }
[ $status = 1 ]
[ "$(blkid -p -s TYPE -o value "${fifth}1")" = ext4 ]
dd if=/dev/zero of="$fourth" bs=1M count=1 conv=notrunc,fsync status=none
respaldo target create "$fifth" --destroy "$fifth" --mount /run/five --vg five --size 100M --no-init -y
mountpoint -q /run/five
# Nor is what another made in the group, be it while the question waited or between two steps.
status=0
python3 asked.py "lvcreate -qqy -l 1 -n other five" target remove five/backups --wipe five/backups >said || status=$?
grep -q "not as it was shown" said || { cat said && false; }
[ $status = 1 ]
mountpoint -q /run/five
lvremove -qqy five/other
printf '#!/bin/sh\n/sbin/lvm "$@" || exit\n[ "$1" != lvremove ] || /sbin/lvm lvcreate -qqy -l 1 -n other five\n' >/run/bin/lvm
chmod +x /run/bin/lvm
PATH=/run/bin:$real
fails 1 'containing 1 logical volumes.*not removed' target remove five/backups --wipe five/backups -y
PATH=$real
rm /run/bin/lvm
lvs five/other
respaldo target remove /run/five -y
vgremove -qqy five
pvremove -qq "${fifth}1"

# Destroyed by name; an MBR; into an existing group.
respaldo target create "$third" --destroy "$third" --mount /run/two --vg two --mbr --fs ext3 -y
[ "$(blkid -p -s PART_ENTRY_TYPE -o value "${third}1")" = 0x8e ]
[ "$(findmnt -no FSTYPE /run/two)" = ext3 ]
respaldo target create "$fourth" --extend-vg vg0 --lv copies --mount /run/three --no-init -y 2>said
grep -q "will depend on $fourth" said
[ "$(lvs --noheadings -o devices vg0/copies | tr -d ' ')" = "${fourth}1(0)" ]
[ ! -e /run/three/repository ]

# Sectors of 4 KiB.
loop=$(losetup --sector-size 4096 --partscan --find --show "$sixth")
[ "$(blockdev --getpbsz "$loop")" = 4096 ]
respaldo target create "$loop" --mount /run/four --vg four -y
[ "$(pvs --noheadings --units b --nosuffix -o pe_start "${loop}p1" | tr -d ' ')" = 1048576 ]
[ "$(cat /sys/block/${loop#/dev/}/${loop#/dev/}p1/start)" = 2048 ]

# Status; what is not mounted is told.
respaldo target status
[ "$(respaldo --json target status | jq length)" = 4 ]
umount /run/two
fails 20 "it is not mounted" target status
fails 20 "mount /run/two" target status /run/two
mount --fstab /run/fstab /run/two
respaldo target status /run/two

# Removal: the data stays unless it is named.
respaldo target remove /run/three -y
refused mountpoint -q /run/three
lvs vg0/copies
refused grep -q /run/three /run/fstab
fails 1 "but the target is" target remove vg0/copies --wipe vg0/root -y
respaldo target remove vg0/copies --wipe vg0/copies -y
refused lvs vg0/copies
[ "$(pvs --noheadings -o vg_name "$first" | tr -d ' ')" = vg0 ]
refused pvs "${fourth}1"
# A busy one is left as it was.
exec 9</run/two/repository/config
fails 11 "cannot be unmounted" target remove /run/two --wipe two/backups -y
grep -q /run/two /run/fstab
mountpoint -q /run/two
exec 9<&-
respaldo target remove /run/two --wipe two/backups -y
refused vgs two
refused pvs "${third}1"
refused grep -q /run/two /run/fstab
respaldo target remove four/backups --wipe four/backups -y
losetup -d "$loop"
respaldo target remove -y
[ "$(cat /run/fstab)" = "# the host" ]
lvs backup/backups
umount /run/root
# The host's own was never touched: its bytes are what they were.
