# The filesystems on the volumes of vg0 get more from the kernel; their manifests are left in $OUT.
vgchange -qq -ay vg0
mkdir -p /run/m
seed=0
for name in $NAMES; do
  seed=$((seed + 2))
  mount -o acl,user_xattr "/dev/vg0/$name" /run/m || mount "/dev/vg0/$name" /run/m
  python3 "$FILES/populate.py" /run/m "$seed"
  umount /run/m
  mount -o ro,noatime "/dev/vg0/$name" /run/m
  python3 "$FILES/manifest.py" /run/m >"$OUT/$name.kernel"
  umount /run/m
done
vgchange -qq -an vg0
