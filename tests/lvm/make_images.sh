# Makes the images of volumes_guest.sh and keeps them in $LVM_IMAGES.
here=$(cd "$(dirname "$0")" && pwd)
disks=()
for i in 0 1 2 3 4 5 6 7 8 9 10; do
  truncate -s 48M disk$i.img
  disks+=(--disk disk$i.img)
done
modules=()
for module in dm-raid raid1 raid10 raid456 dm-mirror; do modules+=(--module $module); done
guest "$here/volumes_guest.sh" out "${disks[@]}" "${modules[@]}" --limit 1200
[ "$(wc -l <out/sums)" -ge 27 ]
# lvm2 itself has nothing to say against its images.
pvck --dump headers disk0.img >headers 2>/dev/null
grep -q "mda_header_1.version 1" headers
rm -rf "$LVM_IMAGES"
mkdir -p "$LVM_IMAGES"
cp --sparse=always disk*.img out/sums out/*.vg out/*.sfdisk "$LVM_IMAGES"
