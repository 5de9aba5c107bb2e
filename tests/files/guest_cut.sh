# Filesystems that are being written to when the power goes; $OUT/cut tells when.
vgchange -qq -ay vg0
mkdir -p /run/a /run/b /run/c
mount -o commit=1 /dev/vg0/ordered /run/a
mount -o commit=1,data=journal /dev/vg0/journalled /run/b
mount -o commit=1,data=writeback,journal_async_commit /dev/vg0/small /run/c
for m in /run/a /run/b /run/c; do
  (
    i=0
    while :; do
      i=$((i + 1))
      mkdir -p $m/d$((i % 7))
      head -c $((i * 977 % 50000)) /dev/urandom >$m/d$((i % 7))/f$((i % 150)) || true
      mv $m/d$((i % 7))/f$((i % 150)) $m/moved-$((i % 60)) || true
      ln -f $m/moved-$((i % 60)) $m/link-$((i % 30)) || true
      [ $((i % 11)) != 0 ] || rm -rf $m/d$(((i + 3) % 7))
      [ $((i % 5)) != 0 ] || truncate -s $((i * 131 % 20000)) $m/moved-$((i % 60)) || true
    done
  ) &
done
# A file that is open and has no name any more is an orphan.
exec 8>/run/a/orphan && head -c 300000 /dev/urandom >&8 && rm /run/a/orphan
sleep 6
sync
sleep 2.${CUT_AFTER:-5}
echo now >$OUT/cut
sleep 100
