# XFS, btrfs and FAT on the volumes of vg0, filled by the kernel and shown by it, then backed up through private mounts.
export RESPALDO_PASSWORD=endtoend
pvcreate -qq /dev/ubda
vgcreate -qq vg0 /dev/ubda
lvcreate -qq -L 700m -n xfs vg0
lvcreate -qq -L 600m -n btrfs vg0
lvcreate -qq -L 300m -n vfat vg0
lvcreate -qq -L 500m -n dirty vg0
mkdir -p /run/m

# show NAME OPTIONS...: what the kernel shows of a volume.
show() {
  name=$1
  shift
  mount "$@" /dev/vg0/$name /run/m
  python3 "$FILES/manifest.py" /run/m >"$OUT/$name.kernel"
  umount /run/m
}

unaudited mkfs.xfs -q -m bigtime=1,reflink=1 /dev/vg0/xfs
mount /dev/vg0/xfs /run/m
cp -a "$OUT/system" /run/m/
python3 "$FILES/populate.py" /run/m 2
cp --reflink=always /run/m/size-12345678 /run/m/reflink-whole
python3 "$HERE/reflinks.py" /run/m
umount /run/m
show xfs -o ro,noatime

mkfs.btrfs -q /dev/vg0/btrfs
mount -o compress=zstd /dev/vg0/btrfs /run/m
cp -a "$OUT/system" /run/m/
btrfs -q subvolume create /run/m/@home
btrfs -q subvolume create /run/m/@home/nested
python3 "$FILES/populate.py" /run/m/@home 2
cp /run/m/@home/size-3000000 /run/m/@home/nested/
btrfs -q subvolume snapshot /run/m/@home/nested /run/m/writable
# A read-only snapshot is a second sight of the same files: the file view has its folder alone.
btrfs -q subvolume snapshot -r /run/m/@home /run/m/frozen
btrfs -q filesystem sync /run/m
umount /run/m
show btrfs -o ro,noatime,subvolid=5
sed -i '/^{"path": "frozen\//d' "$OUT/btrfs.kernel"

mkfs.vfat -F 32 /dev/vg0/vfat >/run/mkfs
mount -o utf8,shortname=mixed,tz=UTC /dev/vg0/vfat /run/m
python3 "$HERE/populate_fat.py" /run/m
umount /run/m
show vfat -o ro,noatime,utf8,shortname=mixed,tz=UTC,uid=0,gid=0,fmask=0022,dmask=0022

# XFS with work in its log: the kernel shows it after recovery, and so do we, without a byte written.
unaudited mkfs.xfs -q /dev/vg0/dirty
mount /dev/vg0/dirty /run/m
cp -a "$OUT/system" /run/m/
sync
mv /run/m/system /run/m/moved
for i in $(seq 300); do echo $i >/run/m/late-$i; done
unaudited xfs_io -x -c 'shutdown -f' /run/m
umount /run/m
before=$(sha256sum /dev/vg0/dirty)

vgchange -qq -an vg0
backup() { "$RESPALDO" --disk /dev/ubda -r "$OUT/repo" --json backup "$@"; }
"$RESPALDO" -r "$OUT/repo" init
backup vg0/xfs >"$OUT/unmounted.json"
"$RESPALDO" -r "$OUT/alone" init
"$RESPALDO" --disk /dev/ubda -r "$OUT/alone" --json backup --mount vg0/xfs >"$OUT/xfs-alone.json"
rm -r "$OUT/alone"
backup --mount vg0/xfs vg0/btrfs vg0/vfat vg0/dirty >"$OUT/first.json"
backup --mount vg0/xfs vg0/btrfs vg0/vfat vg0/dirty >"$OUT/second.json"
[ -z "$(cat /sys/block/nbd*/pid 2>/dev/null)" ]

vgchange -qq -ay vg0
[ "$before" = "$(sha256sum /dev/vg0/dirty)" ]
show dirty -o noatime
umount /run/m 2>/dev/null || true
vgchange -qq -an vg0
