# The power goes in the middle of a backup; after the next boot the next backup removes what was left.
truncate -s 64M disk.img state.img
for point in "intent written" "snapshot made" "volume read" "snapshot gone"; do
  rm -f out/cut
  guest "$HARNESS/../kernel/power_guest.sh" out --disk disk.img --disk state.img --env "POINT=$point" --cut-when cut --limit 300
  rm -f out/cut
  guest "$HARNESS/../kernel/power_guest.sh" out --disk disk.img --disk state.img --env "POINT=" --limit 300
done
export RESTIC_PASSWORD=secret
restic --no-cache -r out/repo unlock --remove-all
restic --no-cache -r out/repo check --read-data
