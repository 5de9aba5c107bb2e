# Every volume that the kernel showed is read the same, whatever the order of the disks.
. "$(dirname "$0")/lvm_words.sh"
images "$LVM_IMAGES"
mapfile -t volumes < <(cut -d' ' -f2 "$LVM_IMAGES/sums")
[ ${#volumes[@]} -ge 27 ]
same "$LVM_IMAGES/sums" "${volumes[@]}"

turned=()
for ((i = ${#images[@]} - 2; i >= 0; i -= 2)); do turned+=(--disk "${images[i + 1]}"); done
images=("${turned[@]}")
same "$LVM_IMAGES/sums" vg0/a-b.c+d vg0/raid10 vg0/thin_snap six/snap64k parts/across

# To a file, with holes where the volume has none of its own bytes.
"$RESPALDO" "${images[@]}" dump vg0/thin -o thin.img
grep -qx "$(sha256sum <thin.img | cut -d' ' -f1) vg0/thin" "$LVM_IMAGES/sums"
[ "$(stat -c %b thin.img)" -lt $(($(stat -c %s thin.img) / 512 / 2)) ]
