# What the kernel shows after its own recovery.
vgchange -qq -ay vg0
mkdir -p /run/m
for name in ordered journalled small; do
  mount -o noatime /dev/vg0/$name /run/m
  python3 "$FILES/manifest.py" /run/m >"$OUT/$name.kernel"
  umount /run/m
  tune2fs -l /dev/vg0/$name >"$OUT/$name.tune2fs"
done
vgchange -qq -an vg0
