# snapshot merge: unmounted, mounted, killed, thick and thin.
. "${GUEST%/*}/words.sh"
vgcreate -qq vg-a.b $DISKS
lvcreate -qqy -n ro-ot -L 48M vg-a.b
V=vg-a.b/ro-ot
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
umount /run/m
change() { # what the filesystem holds, thoroughly
  mount /dev/$V /run/m
  rm -rf /run/m/common-licenses
  head -c 12M /dev/urandom >/run/m/new
  sync
}
# as_before: the volume is what the snapshot was ($sum), and the snapshot has gone.
as_before() {
  [ "$(sha256sum </dev/$V)" = "$sum" ]
  refused lvs vg-a.b/before
  [ "$(lvs --noheadings -o lv_name -S 'lv_merging=1' vg-a.b | wc -l)" = 0 ]
}

expect 1 "$RESPALDO" snapshot merge $V --yes
says "is not a snapshot"

# Nobody uses it.
"$RESPALDO" snapshot create $V -n before --size 24M
sum=$(sha256sum </dev/vg-a.b/before)
change
umount /run/m
expect 1 "$RESPALDO" snapshot merge vg-a.b/before
says "not done without a yes: roll vg-a.b/ro-ot back to snapshot vg-a.b/before, made .* ago"
lvs vg-a.b/before
expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
says "is what vg-a.b/before was"
as_before

# Mounted: it waits, says so, and the volume goes on; the same command goes on with it.
"$RESPALDO" snapshot create $V -n before --size 24M
sum=$(sha256sum </dev/vg-a.b/before)
change
expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
says "waits: vg-a.b/ro-ot is mounted on /run/m"
says "lvs -a -o name,origin,lv_merging"
[ "$(lvs -a --noheadings -o lv_name -S 'lv_merging=1 && lv_name=before' vg-a.b | wc -l)" = 1 ]
echo more >/run/m/more
expect 0 "$RESPALDO" --json snapshot merge vg-a.b/before
says '"outcome":"waits"'
umount /run/m
expect 0 "$RESPALDO" snapshot merge vg-a.b/before
says "is what vg-a.b/before was"
as_before

# The same, by an activation, as at the next boot.
"$RESPALDO" snapshot create $V -n before --size 24M
sum=$(sha256sum </dev/vg-a.b/before)
change
expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
umount /run/m
lvchange -an $V
lvchange -ay $V
expect 0 "$RESPALDO" snapshot merge vg-a.b/before || lvs -a vg-a.b
as_before

# Killed in the middle: it goes on.
"$RESPALDO" snapshot create $V -n before --size 24M
sum=$(sha256sum </dev/vg-a.b/before)
change
umount /run/m
export RESPALDO_CRASH_AT="merge begun"
expect 137 "$RESPALDO" snapshot merge vg-a.b/before --yes
unset RESPALDO_CRASH_AT
expect 0 "$RESPALDO" snapshot merge vg-a.b/before || ! lvs -a vg-a.b/before
as_before

# A snapshot that is dead, and one that a backup works with.
"$RESPALDO" snapshot create $V -n before --size 4M
change
umount /run/m
expect 21 "$RESPALDO" snapshot merge vg-a.b/before --yes
says "overflowed"
expect 0 "$RESPALDO" snapshot remove vg-a.b/before --yes
quick_init
hold "snapshot open" "$RESPALDO" backup $V
expect 11 "$RESPALDO" snapshot merge "$(lvs --noheadings -o vg_name,lv_name -S 'lv_name=~respaldo_' --separator / vg-a.b | tr -d ' ')" --yes
says "belongs to a backup that runs"
release
[ $status = 0 ]
nothing_left

# Thin: at once, or at the next activation.
lvremove -qq -y $V
lvcreate -qq -L 100M -V 48M -T vg-a.b/pool -n ro-ot
mke2fs -q -t ext4 /dev/$V
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
umount /run/m
for how in unmounted mounted; do
  "$RESPALDO" snapshot create $V -n before
  lvchange -ay -K vg-a.b/before
  sum=$(sha256sum </dev/vg-a.b/before)
  change
  if [ $how = unmounted ]; then
    umount /run/m
    expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
    says "is what vg-a.b/before was"
  else
    expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
    says "waits"
    umount /run/m
    lvchange -an $V
    lvchange -ay $V
  fi
  as_before
done
# A kept base is the volume's after it, too, and tells what the merge put back.
"$RESPALDO" snapshot create $V -n before
lvchange -ay -K vg-a.b/before
sum=$(sha256sum </dev/vg-a.b/before)
change
umount /run/m
"$RESPALDO" -q backup --keep-base $V
expect 0 "$RESPALDO" snapshot merge vg-a.b/before --yes
as_before
expect 0 "$RESPALDO" base list $V
says "of $V"
expect 0 "$RESPALDO" backup --keep-base --raw $V
says "changed since backup"
"$RESPALDO" cat latest /$V/image.raw | cmp - /dev/$V
[ "$(lvs --noheadings -o lv_name -S 'lv_tags=respaldo_base' vg-a.b | wc -l)" = 1 ]
expect 0 "$RESPALDO" base remove $V --yes
nothing_left
