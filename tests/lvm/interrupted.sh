# The power is cut while lvm2 merges a snapshot, moves a volume and synchronises an array: what is read then is what
# there is when all has ended.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lvm_words.sh"
disks=()
for i in 0 1 2 3; do
  truncate -s 96M disk$i.img
  disks+=(--disk disk$i.img)
done
modules=()
for module in dm-raid raid456 dm-mirror; do modules+=(--module $module); done
guest "$here/interrupted_guest.sh" out --env STEP=cut --cut-when cut "${disks[@]}" "${modules[@]}"
# All three had begun and none had ended.
cat out/status
under_way() { # DEVICE KIND: prints the first "done/all rest" of its status
  grep -E "^$1: .* $2 " out/status | grep -oE "[0-9]+/[0-9]+ [^ ]+" | head -1 | tr / ' '
}
read -r used _ metadata < <(under_way cut-origin snapshot-merge)
[ "$used" -gt "$metadata" ]
read -r moved all _ < <(under_way cut-pvmove0 mirror)
[ "$moved" -lt "$all" ]
read -r synchronised all _ < <(under_way cut-array raid)
[ "$synchronised" -lt "$all" ]
images .
same out/sums cut/origin cut/moved cut/array
guest "$here/interrupted_guest.sh" later --env STEP=finish "${disks[@]}" "${modules[@]}"
diff <(sort out/sums) <(sort later/during)
diff <(sort out/sums) <(sort later/sums)
same out/sums cut/origin cut/moved cut/array
