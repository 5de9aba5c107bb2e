# Real lvm2 on real device-mapper: a snapshot keeps what the origin had.
vgcreate -qq vg0 $DISKS
lvcreate -qq -n origin -L 20M vg0
pattern /dev/vg0/origin 0 20480
before=$(sha256sum </dev/vg0/origin)
lvcreate -qq -s -n snap -L 8M vg0/origin
pattern /dev/vg0/origin 1024 1024
[ "$(sha256sum </dev/vg0/snap)" = "$before" ]
[ "$(sha256sum </dev/vg0/origin)" != "$before" ]
dmsetup table vg0-snap | grep -q ' snapshot '
sums vg0
[ "$(wc -l <sums)" = 2 ]
[ ! -e /etc/lvm/archive/vg0_00000* ] # the host's /etc/lvm is left alone
