# A pool with a volume, a snapshot of it that both are written to, and holes.
set -- $DISKS
sectors=$(blockdev --getsz "$2")
dmsetup create pool --table "0 $sectors thin-pool $1 $2 128 0 0"
dmsetup message pool 0 "create_thin 0"
dmsetup create thin0 --table "0 40960 thin /dev/mapper/pool 0"
pattern /dev/mapper/thin0 128 4096
pattern /dev/mapper/thin0 10000 300
dmsetup suspend thin0
dmsetup message pool 0 "create_snap 5 0"
dmsetup resume thin0
dmsetup create thin5 --table "0 40960 thin /dev/mapper/pool 5"
pattern /dev/mapper/thin0 512 512
pattern /dev/mapper/thin5 2048 256
pattern /dev/mapper/thin5 16384 64
for id in 0 5; do echo "$(sha256sum <"/dev/mapper/thin$id" | cut -d' ' -f1) thin$id" >>"$OUT/sums"; done
dmsetup remove thin5
dmsetup remove thin0
dmsetup remove pool
