cd out
export RESTIC_PASSWORD=secret RESPALDO_PASSWORD=secret
restic --no-cache -r repo check --read-data
live=$("$RESPALDO" -r repo --json list --tag live | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["id"])')
"$RESPALDO" -r repo cat "$live" /vg-a.b/ro-ot.1/volume.json >facts
python3 - <<'P'
import json
facts = json.load(open("facts"))
assert facts["engine"] == "kernel" and facts["how"] == "snapshot", facts
assert facts["cow_size"] % (4 << 20) == 0 and facts["cow_used"] > 2 << 20, facts
assert facts["snapshot"].startswith("vg-a.b/respaldo_"), facts
P
"$RESPALDO" -r repo cat "$live" /vg-a.b/vg.conf | grep -q 'ro-ot.1 {'
"$RESPALDO" -r repo restore "$live" --to-file restored.img
e2fsck -fn restored.img
dd if=restored.img bs=4k skip=1 status=none | sha256sum | diff - frozen.sum
"$RESPALDO" -r repo restore "$live" --files --to files
python3 "$HARNESS/../files/manifest.py" files >restored.files
python3 "$HARNESS/../files/manifest.py" --compare frozen.files restored.files allocated atime
