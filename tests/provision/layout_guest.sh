# A host with everything that layout shows, and what the plain tools say of it.
export RESPALDO_STATE=/run/state RESPALDO_PASSWORD=secret RESPALDO_FSTAB=/run/fstab
set -- $DISKS
# A partitioned disk, a bare one.
echo ',,lvm' | sfdisk -q --label gpt "$1"
vgcreate -q vg0 "${1}1" "$2"
lvcreate -qy -L 64M -n root vg0 "${1}1"
lvcreate -qy -L 16M -n with-hyphen.dot vg0
lvcreate -qy -L 32M --type thin-pool -n pool vg0
lvcreate -qy -V 64M --thinpool pool -n thin vg0
mkfs.ext4 -q -L rootfs /dev/vg0/root
mkswap -q /dev/vg0/with-hyphen.dot
mkdir /run/root && mount /dev/vg0/root /run/root
head -c 5000000 /dev/urandom >/run/root/file && sync
lvcreate -qy -s -L 12M -n snap vg0/root
head -c 2000000 /dev/urandom >/run/root/file && sync
echo "UUID=$(blkid -s UUID -o value /dev/vg0/root) /run/root ext4 defaults 0 2" >/run/fstab
echo "UUID=dead-beef /run/gone ext4 defaults 0 2" >>/run/fstab
mkfs.ext4 -q "$3"

# Held still while both are asked: a filesystem writes long after a sync, and the store fills.
fsfreeze -f /run/root
"$RESPALDO" --json layout >layout.json
"$RESPALDO" layout >layout.txt
for report in vgs pvs; do
  $report --reportformat json --units b --nosuffix -o all >$report.json
done
lvs --reportformat json --units b --nosuffix -o lv_all,chunk_size >lvs.json
# Without udev lsblk knows no contents; blkid looks for itself.
lsblk --json --bytes -o NAME,PATH,SIZE,TYPE,MOUNTPOINT,PHY-SEC,LOG-SEC,RO,RM >lsblk.json
for device in "$1" "${1}1" "$2" "$3" /dev/mapper/vg0-root /dev/mapper/vg0-with--hyphen.dot; do
  blkid -p -o export "$device" >"blkid.${device##*/}" || true
done
fsfreeze -u /run/root
# What must be seen of this host.
grep -q 'UUID=dead-beef' layout.txt
grep -q '/dev/vg0/with-hyphen.dot = /dev/mapper/vg0-with--hyphen.dot = /dev/dm-' layout.txt

# doctor: a repository on the volume's own disk, a line of fstab that hangs the boot.
"$RESPALDO" -r /run/root/repository init
status=0
"$RESPALDO" -r /run/root/repository --json doctor vg0/root >doctor.json || status=$?
[ $status = 20 ]
sed -i /dead-beef/d /run/fstab
"$RESPALDO" -r /run/root/repository check
status=0
"$RESPALDO" -r /run/root/repository --json doctor vg0/root >doctor2.json || status=$?
[ $status = 0 ]
status=0
"$RESPALDO" -r /run/root/repository doctor --strict vg0/root || status=$?
[ $status = 20 ]
status=0
RESPALDO_PASSWORD=wrong "$RESPALDO" -r /run/root/repository doctor vg0/root >doctor3.txt || status=$?
[ $status = 20 ]
grep -q "no key opens" doctor3.txt || grep -qi "password" doctor3.txt
# No free extents, and the volume is in use.
lvcreate -qy -l 100%FREE -n filler vg0
status=0
"$RESPALDO" -r /run/root/repository doctor vg0/root >doctor4.txt || status=$?
[ $status = 20 ]
grep -q "no free extents" doctor4.txt
umount /run/root
