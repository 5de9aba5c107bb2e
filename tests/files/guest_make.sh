# Filesystems of many kinds on the volumes of vg0, filled by the kernel; their manifests are left in $OUT.
vgchange -qq -ay vg0
mkdir -p /run/m
make() {
  name=$1 seed=$2
  shift 2
  mke2fs -q -F -d "$OUT/system" "$@" "/dev/vg0/$name"
  mount -o acl,user_xattr "/dev/vg0/$name" /run/m || mount "/dev/vg0/$name" /run/m
  python3 "$FILES/populate.py" /run/m "$seed"
  umount /run/m
  mount -o ro,noatime "/dev/vg0/$name" /run/m
  python3 "$FILES/manifest.py" /run/m >"$OUT/$name.kernel"
  umount /run/m
}
make ext4 2 -t ext4 -O ea_inode
make ext3 1 -t ext3 -I 128
make small 4 -t ext4 -b 1024 -I 256
make bigalloc 6 -t ext4 -O bigalloc,^metadata_csum -C 16384
make inline 8 -t ext4 -O inline_data,^has_journal -I 512
vgchange -qq -an vg0
