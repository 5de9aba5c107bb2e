# With any one disk missing (two for RAID6) arrays are read as before; what needs the disk says so.
. "$(dirname "$0")/lvm_words.sh"
for missing in 0 1 2 3; do
  images "$LVM_IMAGES" $missing
  same "$LVM_IMAGES/sums" vg0/raid1 vg0/raid4 vg0/raid5 vg0/raid5n vg0/raid10
done
for missing in "4" "6 8" "4 5" "7 8"; do
  images "$LVM_IMAGES" $missing
  "$RESPALDO" "${images[@]}" dump six/raid6 -y -o raid6.img 2>message
  grep -qx "$(sha256sum <raid6.img | cut -d' ' -f1) six/raid6" "$LVM_IMAGES/sums"
done
# A volume in several segments needs all of them, one that does not touch the disk needs nothing of it.
images "$LVM_IMAGES" 1
if "$RESPALDO" "${images[@]}" dump vg0/a-b.c+d -o linear.img 2>message; then exit 1; fi
grep -qi "missing" message
same "$LVM_IMAGES/sums" vg0/plug
images "$LVM_IMAGES" 4 5 6
if "$RESPALDO" "${images[@]}" dump six/raid6 -y -o raid6.img 2>message; then exit 1; fi
