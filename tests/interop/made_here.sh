# Images made, changed and written by respaldo alone; real lvm2 accepts and changes them; respaldo reads them again.
here=$(dirname "${BASH_SOURCE[0]}")
on_disks() { "$RESPALDO" -q --disk a.img --disk b.img --disk c.img "$@"; }
lvm() { on_disks lvm "$@"; }
# noise VOLUME FROM COUNT: COUNT KiB of noise at FROM KiB of a volume that is served.
noise() { dd if=/dev/urandom of="served/$1" bs=1k seek="$2" count="$3" conv=notrunc,fsync status=none; }
# "SHA-256 VG/LV" of every volume and snapshot, as `dump` gives it.
dumped() {
  lvm lvs --noheadings --separator / -o vg_name,lv_name | tr -d ' ' | while read -r name; do
    echo "$(on_disks dump "$name" -o - | sha256sum | cut -d' ' -f1) $name"
  done | sort
}
percents() { lvm lvs --noheadings --separator ' ' -o lv_name,snap_percent | awk 'NF == 2 { print $1, $2 }' | sort; }
same() { diff -u "$1" "$2" || { echo "$3 differ" && exit 1; }; }

serve() { mkdir -p served && on_disks activate served; }
unserve() { fusermount3 -u served; }
trap 'fusermount3 -q -u served || true' EXIT

truncate -s 99840K a.img # not whole extents
truncate -s 120M b.img
truncate -s 64M c.img
printf 'label: dos\nstart=2048, size=32768, type=83\ntype=8e\n' | sfdisk -q b.img
lvm pvcreate a.img b.img:2
lvm vgcreate -s 1M vg0 a.img b.img:2

# Several segments each: `plug` keeps them apart.
lvm lvcreate -n linear -L 6M vg0 a.img
lvm lvcreate -n plug -L 2M vg0 a.img
lvm lvextend -L +3M vg0/linear a.img
lvm lvextend -L +4M vg0/linear b.img:2
lvm lvcreate -n stripes -i 2 -I 16k -L 8M vg0
lvm lvcreate -n gap -L 1M vg0 b.img:2
lvm lvextend -l +6 -i 2 -I 32k vg0/stripes
lvm lvcreate -n origin-a_b.c -L 12M vg0
[ "$(lvm lvs --noheadings -o seg_count vg0/linear | tr -d ' \n' | cut -c1)" = 3 ]

serve
for volume in linear plug stripes gap; do
  dd if=/dev/urandom of="served/vg0/$volume" bs=64k conv=notrunc,fsync status=none 2>/dev/null || true
done
noise vg0/origin-a_b.c 0 12288
lvm lvcreate -s -n small -c 4k -L 6M vg0/origin-a_b.c
noise vg0/origin-a_b.c 1001 2000
noise vg0/small 8003 101 # a snapshot written to itself
lvm lvcreate -s -n large -c 64k -L 8M vg0/origin-a_b.c
noise vg0/origin-a_b.c 2000 1500
noise vg0/origin-a_b.c 11000 70
noise vg0/large 5 64
noise vg0/small 1200 30
lvm lvcreate -s -n back -c 16k -L 6M vg0/linear
noise vg0/linear 3000 900
noise vg0/linear 12000 40
unserve

# A group with a history: disks come and go, volumes grow, get other names, move, and go back in time.
before=$(on_disks dump vg0/back -o - | sha256sum)
lvm lvconvert -y --merge vg0/back
[ "$(on_disks dump vg0/linear -o - | sha256sum)" = "$before" ]
lvm pvcreate c.img
lvm vgextend vg0 c.img
lvm lvcreate -n passing -L 4M vg0 c.img
lvm pvmove c.img a.img
lvm vgreduce vg0 c.img
lvm lvrename vg0/passing passed
lvm lvextend -L +2M vg0/passed
lvm lvextend -L +2M vg0/small
lvm lvremove -y vg0/gap
serve
noise vg0/passed 0 6144
noise vg0/origin-a_b.c 7000 700 # the store that has grown goes on
unserve
lvm vgck vg0

dumped >dumped
[ "$(wc -l <dumped)" = 7 ]
percents >percents
[ "$(wc -l <percents)" = 2 ]
lvm vgs --noheadings -o vg_name,pv_count,lv_count,snap_count,vg_seqno,vg_size,vg_free,vg_uuid --units b vg0 |
  tr -s ' ' >group
. "$here/reports.sh"
for verb in lvs vgs pvs lvdisplay vgdisplay pvdisplay; do eval "$verb() { lvm $verb \"\$@\"; }"; done
export TZ=UTC
reports >reports
guest "$here/made_here_guest.sh" out --disk a.img --disk b.img --disk c.img

sort out/sums >there
same dumped there "the bytes of volumes, there and here,"
same percents out/percents "percentages of snapshots"
same group out/group "figures of the group"
same reports out/reports "reports of the same group"
# And what lvm2 did to them there.
sort out/sums.after >there
dumped >here
same here there "the bytes of volumes that lvm2 changed"
percents >percents
same percents out/percents.after "percentages of snapshots that lvm2 changed"
lvm vgck vg0
