# migrate to another group: a base that overflowed, another name, fstab; thin volumes.
. "${GUEST%/*}/words.sh"
set -- $DISKS
vgcreate -qq vg-a.b "$1"
vgcreate -qq --physicalextentsize 8M vault "$2"
lvcreate -qqy -n ro-ot -L 52M vg-a.b
V=vg-a.b/ro-ot N=vault/ro-ot
mke2fs -q -t ext4 /dev/$V
mkdir -p /run/m
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
(cd /run/m && find . -type f -exec sha256sum {} +) >/run/sums

is() { [ "$(lvs --noheadings -o "$2" "$1" | xargs)" = "$3" ]; }  # is VOLUME FIELD VALUE
bases() { lvs --noheadings -o lv_tags vg-a.b | grep -c respaldo_base_ || true; }

# The base overflows between two runs: everything is compared instead. Under another name; fstab is told.
expect 11 "$RESPALDO" migrate $V --to vault/new --cow 4M
head -c 20M /dev/urandom >/run/m/three
umount /run/m
sum=$(sha256sum </dev/$V)
echo "/dev/$V /data ext4 defaults 0 2" >/run/fstab
mount --bind /run/fstab /etc/fstab
expect 0 "$RESPALDO" migrate $V --to vault/new
says "what changed on $V is not told by"
says "is now vault/new: 52.00 MiB compared, all equal"
says "lvremove $V"
says "/etc/fstab still says /dev/$V on /data: name /dev/vault/new there"
umount /etc/fstab
[ "$(head -c 54525952 /dev/vault/new | sha256sum)" = "$sum" ]
# The old one is what it was.
lvchange -ay -K $V
[ "$(sha256sum </dev/$V)" = "$sum" ]
lvremove -qqy vault $V

# Thin, out of its pool.
lvcreate -qqy -L 60M -T vg-a.b/pool
lvcreate -qqy -V 52M -T vg-a.b/pool -n ro-ot
mke2fs -q -t ext4 /dev/$V
mount /dev/$V /run/m
cp -a /usr/share/common-licenses /run/m/
expect 11 "$RESPALDO" migrate $V --to vault
head -c 1M /dev/urandom >/run/m/four
umount /run/m
sum=$(sha256sum </dev/$V)
expect 0 "$RESPALDO" migrate $V --to vault
refused grep "is not told by" /run/stderr
[ "$(head -c 54525952 /dev/$N | sha256sum)" = "$sum" ]
nothing_left
