# Thin volumes: the whole cycle; a pool that is nearly full is spared.
. "${GUEST%/*}/words.sh"
vgcreate -qq vg0 $DISKS
lvcreate -qq -L 64M -T vg0/pool -V 96M -n thin
mke2fs -q -t ext4 -E nodiscard /dev/vg0/thin
mkdir -p /run/m
mount -o noatime /dev/vg0/thin /run/m
cp -a /usr/share/common-licenses /run/m/
head -c 12M /dev/urandom >/run/m/big
sync
quick_init
python3 "${HARNESS%/harness}/files/manifest.py" /run/m >before.files
hold "snapshot open" "$RESPALDO" backup vg0/thin
lvs -a -o name,attr,tags vg0
head -c 12M /dev/urandom >/run/m/big
sync
release
[ $status = 0 ]
nothing_left
umount /run/m
lvcreate -qq -s -n kept vg0/thin # skipped at activation, as thin snapshots are
expect 0 "$RESPALDO" backup --from-snapshot vg0/kept
says "from snapshot vg0/kept"
lvs --noheadings -o lv_active vg0/kept | grep -v active # as it was found
lvchange -ay -K vg0/kept
hold "snapshots watched" "$RESPALDO" backup --from-snapshot vg0/kept
printf x | dd of=/dev/vg0/kept bs=1 seek=5000000 conv=notrunc status=none
release
[ $status = 11 ]
says "vg0/kept of vg0/thin was written to while it was read"
lvchange -an vg0/kept
expect 0 "$RESPALDO" snapshot list
says "thin"
expect 0 "$RESPALDO" snapshot remove vg0/kept --yes

# A COW store for a thin volume, when one is asked for.
expect 0 "$RESPALDO" backup --cow 8M vg0/thin
says "of 8.00 MiB used"
# Nearly full: nothing is begun.
expect 1 "$RESPALDO" backup --min-pool-free 60M vg0/thin
says "the thin pool vg0/pool has only"
nothing_left
expect 0 "$RESPALDO" restore latest --to vg0/thin --yes --in-place

# It runs full while it is read: given up, and the pool has its room again.
mount /dev/vg0/thin /run/m
hold "snapshots watched" "$RESPALDO" backup --min-pool-free 30% vg0/thin
dd if=/dev/urandom of=/run/m/more bs=1M count=30 status=none
sync
release
[ $status = 1 ]
says "given up to spare it"
nothing_left
[ "$(backups)" = 3 ]
umount /run/m

# What is restored onto a thin volume does not fill the pool, which would fail every volume in it.
lvextend -qq -L +64M vg0/pool
for name in filler other; do lvcreate -qq -T vg0/pool -V 128M -n $name; done
free=$(lvs --noheadings --nosuffix --units m -o lv_size,data_percent vg0/pool | awk '{ print int($1 * (100 - $2) / 100) }')
dd if=/dev/urandom of=/dev/vg0/filler bs=1M count=$((free - 8)) oflag=direct status=none
expect 1 "$RESPALDO" restore latest --to vg0/other --yes
says "the thin pool vg0/pool has only"
says "writing .*vg0-other was given up to spare it"
says "lvextend -L+SIZE vg0/pool"
dd if=/dev/urandom of=/dev/vg0/filler bs=64k count=1 seek=2000 oflag=direct status=none # the others go on
lvremove -qq -f vg0/filler
expect 0 "$RESPALDO" restore latest --to vg0/other --yes
