# One group with volumes of every kind that is read, one of snapshots, one in partitions; eleven disks.
# Leaves "SHA-256 VG/LV" of all that the kernel shows, and the groups' texts.
set -- $DISKS
disk5=$5 disk6=$6
vgcreate -qq -s 1M vg0 "$1" "$2" "$3" "$4"

# Linear in several segments over two PVs, with a name that device-mapper writes with doubled hyphens.
lvcreate -qq -n a-b.c+d -L 4M vg0 "$1"
lvcreate -qq -n plug -L 2M vg0 "$1"
lvextend -qq -L +3M vg0/a-b.c+d "$1"
lvextend -qq -L +5M vg0/a-b.c+d "$2"
[ "$(lvs --noheadings -o seg_count vg0/a-b.c+d | tr -d ' ')" = 3 ]
lvcreate -qq -n stripes -i 3 -I 16k -L 9M vg0
lvextend -qq -i 2 -I 32k -L +4M vg0/stripes

lvcreate -qq -n mirror --type mirror -m 1 --mirrorlog core --nosync -L 4M vg0
lvcreate -qq -n raid0 --type raid0 -i 3 -I 16k -L 6M vg0
lvcreate -qq -n raid0m --type raid0_meta -i 2 -I 8k -L 4M vg0
lvcreate -qq -n raid1 --type raid1 -m 1 -L 4M vg0
lvcreate -qq -n raid4 --type raid4 -i 3 -I 16k -L 6M vg0
lvcreate -qq -n raid5 --type raid5 -i 3 -I 16k -L 6M vg0
lvcreate -qq -n raid5n --type raid5_n -i 2 -I 8k -L 4M vg0
lvcreate -qq -n raid10 --type raid10 -i 2 -m 1 -I 16k -L 4M vg0

# A pool whose own parts are arrays, volumes that share blocks, one with an external origin.
lvcreate -qq -n pool --type thin-pool -L 16M -c 64k --poolmetadatasize 2M vg0
lvcreate -qq -n thin -V 30M --thinpool pool vg0
for lv in a-b.c+d stripes mirror raid0 raid0m raid1 raid4 raid5 raid5n raid10; do
  pattern "/dev/vg0/$lv" 0 "$(lvs --noheadings --nosuffix --units k -o lv_size "vg0/$lv" | tr -d ' ' | cut -d. -f1)"
done
pattern /dev/vg0/thin 0 3000
pattern /dev/vg0/thin 20000 400
lvcreate -qq -s -n thin_snap vg0/thin
lvchange -qq -ay -K vg0/thin_snap
pattern /dev/vg0/thin 512 1024
pattern /dev/vg0/thin_snap 2048 512
lvcreate -qq -s -n thin_snap2 vg0/thin_snap
lvchange -qq -ay -K vg0/thin_snap2
pattern /dev/vg0/thin_snap2 24000 64
lvcreate -qq -n base -L 3M vg0
pattern /dev/vg0/base 0 3072
lvchange -qq -an vg0/base
lvchange -qq -pr vg0/base
lvcreate -qq -s -n outside --thinpool vg0/pool vg0/base
lvchange -qq -ay -K vg0/outside
pattern /dev/vg0/outside 100 72
lvchange -qq -ay vg0/base

# Six disks' worth of parity need a group with six PVs.
vgcreate -qq -s 1M six "$disk5" "$disk6" "$7" "$8" "$9"
lvcreate -qq -n raid6 --type raid6 -i 3 -I 16k -L 6M six
pattern /dev/six/raid6 0 6144
until [ "$(lvs --noheadings -o sync_percent six/raid6 | tr -d ' ')" = 100.00 ]; do sleep 0.2; done
for lv in raid1 raid4 raid5 raid5n raid10; do
  until [ "$(lvs --noheadings -o sync_percent vg0/$lv | tr -d ' ')" = 100.00 ]; do sleep 0.2; done
done

# Thick snapshots of one origin: different chunks, written to themselves, made at different times.
lvcreate -qq -n origin -L 12M six
pattern /dev/six/origin 0 12288
lvcreate -qq -s -n snap4k -c 4k -L 8M six/origin
pattern /dev/six/origin 1000 2000
lvcreate -qq -s -n snap64k -c 64k -L 8M six/origin
pattern /dev/six/origin 2000 3000
pattern /dev/six/snap4k 8000 100
pattern /dev/six/snap64k 0 64
lvcreate -qq -s -n snap512k -c 512k -L 6M six/origin
pattern /dev/six/origin 7000 512
pattern /dev/six/snap512k 11000 200
pattern /dev/six/snap4k 4 8
lvcreate -qq -s -n fresh -L 4M six/origin
# A thick snapshot of a RAID, and one of a thin volume.
lvcreate -qq -s -n raid6snap -L 2M six/raid6
pattern /dev/six/raid6 512 1024
lvcreate -qq -s -n thinthick -L 2M vg0/thin
pattern /dev/vg0/thin 16 1000

# PVs inside partitions: GPT, and MBR with a logical one.
shift 9
printf 'label: gpt\nstart=2048, size=4096\nstart=8192, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n' | sfdisk -q "$1"
printf 'label: dos\nsize=4096\ntype=5\ntype=8e, size=16384\ntype=8e\n' | sfdisk -q "$2"
sleep 0.2
vgcreate -qq -s 512k parts "${1}2" "${2}5" "${2}6"
lvcreate -qq -n across -i 3 -I 4k -l 30 parts
lvcreate -qq -n rest -l 100%FREE parts
pattern /dev/parts/across 0 15360
pattern /dev/parts/rest 0 "$(lvs --noheadings --nosuffix --units k -o lv_size parts/rest | tr -d ' ' | cut -d. -f1)"
for disk in $1 $2; do sfdisk -d "$disk" >"$OUT/${disk##*/}.sfdisk"; done

sync
for vg in vg0 six parts; do
  sums $vg
  vgcfgbackup -qq -f "$OUT/$vg.vg" $vg
done
vgchange -qq -an vg0 six parts
