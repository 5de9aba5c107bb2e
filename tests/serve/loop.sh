# An image of a mounted repository is a disk: the kernel mounts it through a loop device, and shows the files that came out of it.
here=$(dirname "${BASH_SOURCE[0]}")
export RESPALDO_PASSWORD=loop RESPALDO_REPOSITORY=$PWD/repository
manifest() { python3 "$here/../files/manifest.py" "$@"; }

mkdir files
# At most 60 MB of what this machine has, however much that is.
find /usr/include -type f -size -200k -printf '%s\t%p\n' | LC_ALL=C sort -k2 |
  awk -F'\t' '(sum += $1) < 60e6 && ++n <= 4000 { print $2 }' >names
tar -C / --no-recursion -T names -cf - 2>/dev/null | tar -C files -xpf -
ln -s usr/include files/link
truncate -s 200M disk.img
"$RESPALDO" -q --disk disk.img lvm vgcreate vg0 disk.img
"$RESPALDO" -q --disk disk.img lvm lvcreate -L 160M -n root vg0
mkdir served && "$RESPALDO" -q --disk disk.img activate served
trap 'fusermount3 -q -u served || true' EXIT
mkfs.ext4 -q -d files served/vg0/root
fusermount3 -u served
"$RESPALDO" init
"$RESPALDO" --disk disk.img backup vg0/root
"$RESPALDO" restore latest:vg0/root --files --to restored
"$RESPALDO" restore latest:vg0/root --to-file image

guest "$here/loop_guest.sh" out --module fuse --module loop --env "RESPALDO=$RESPALDO" --env "REPOSITORY=$PWD/repository" --memory 768 --limit 1800
[ "$(cut -d' ' -f1 out/sum)" = "$(sha256sum <image | cut -d' ' -f1)" ]
manifest restored >restored.manifest
# The guest mounts without updating access times, but reading the folders here does.
manifest --compare out/looped restored.manifest atime allocated
[ "$(wc -l <out/looped)" -gt 500 ]
