# Arrays of every level over 4 MiB slices of six disks, and one that loses a leg while it is written.
set -- $DISKS
n=0
for disk; do
  for k in 0 1 2 3 4 5 6; do
    dmsetup create "leg$k$n" --table "0 8192 linear $disk $((k * 8192))"
  done
  dmsetup create "meta$n" --table "0 2048 linear $disk $((7 * 8192))"
  dmsetup create "tens$n" --table "0 2048 linear $disk $((7 * 8192 + 2048))"
  n=$((n + 1))
done

# array K LEGS SECTORS WORDS...: "raid WORDS... LEGS META leg META leg ...", META "-" or /dev/mapper/${meta}N
meta=""
array() {
  k=$1 count=$2 sectors=$3
  shift 3
  legs=""
  i=0
  while [ $i -lt "$count" ]; do
    legs="$legs ${meta:--}${meta:+$i} /dev/mapper/leg$k$i"
    i=$((i + 1))
  done
  dmsetup create "array$k" --table "0 $sectors raid $* $count$legs"
  pattern "/dev/mapper/array$k" 0 $((sectors / 2))
  echo "$(sha256sum <"/dev/mapper/array$k") array$k" >>"$OUT/sums"
}
array 0 2 8192 raid1 2 0 nosync
array 1 4 24576 raid4 2 128 nosync
array 2 4 24576 raid5_ls 2 128 nosync
array 3 4 24576 raid5_n 2 128 nosync
array 4 6 32768 raid6_zr 1 128 # RAID6 always begins with a synchronisation
meta=/dev/mapper/tens # the kernel makes no RAID10 without superblocks
array 5 4 16384 raid10 4 128 nosync raid10_copies 2

until dmsetup status array4 | grep -q ' idle '; do sleep 0.2; done

dmsetup create array6 --table "0 16384 raid raid5_ls 2 128 nosync 3 /dev/mapper/meta0 /dev/mapper/leg60 /dev/mapper/meta1 /dev/mapper/leg61 /dev/mapper/meta2 /dev/mapper/leg62"
pattern /dev/mapper/array6 0 8192
dmsetup suspend leg61
dmsetup reload leg61 --table "0 8192 error"
dmsetup resume leg61
pattern /dev/mapper/array6 1024 4096
dmsetup status array6 | grep -q ADA
echo "$(sha256sum </dev/mapper/array6) array6" >>"$OUT/sums"
for k in 0 1 2 3 4 5 6; do dmsetup remove "array$k"; done
