# The power goes in the middle of a backup, four times; after each boot the next backup is whole and removes what was left.
truncate -s 64M disk.img state.img
for point in "intent written" "snapshot made" "volume read" "snapshot gone" ""; do
  rm -f out/cut
  guest "$HARNESS/../kernel/power_guest.sh" out --disk disk.img --disk state.img --env "POINT=$point" ${point:+--cut-when cut} --limit 900
done
export RESTIC_PASSWORD=secret
restic --no-cache -r out/repo unlock --remove-all
restic --no-cache -r out/repo check --read-data
[ "$(restic --no-cache -r out/repo snapshots --json | jq length)" -eq 4 ] || { echo "not four backups"; exit 1; }
