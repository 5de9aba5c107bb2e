cd out
export RESTIC_PASSWORD=secret RESPALDO_PASSWORD=secret
restic --no-cache -r repo check --read-data
first=$("$RESPALDO" -r repo --json list | python3 -c 'import json,sys; print(sorted(json.load(sys.stdin), key=lambda b: b["time"])[0]["id"])')
"$RESPALDO" -r repo restore "$first" --files --to files
python3 "$HARNESS/../files/manifest.py" files >restored.files
python3 "$HARNESS/../files/manifest.py" --compare before.files restored.files allocated atime
"$RESPALDO" -r repo restore "$first" --to-file restored.img
e2fsck -fn restored.img
