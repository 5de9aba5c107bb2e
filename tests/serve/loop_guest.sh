# The backups of a repository, mounted; the image in them, mounted.
export RESPALDO_PASSWORD=loop
mkdir /run/backups /run/files
"$RESPALDO" -r "$REPOSITORY" mount /run/backups
mount -o loop,ro,noload /run/backups/latest/vg0/root/image.raw /run/files
python3 "$HARNESS/../files/manifest.py" /run/files >looped
umount /run/files
sha256sum /run/backups/latest/vg0/root/image.raw >sum
fusermount3 -u /run/backups
