cd out
export RESTIC_PASSWORD=secret RESPALDO_PASSWORD=secret
restic --no-cache -r repo check --read-data
python3 - <<'P'
import json
facts = json.load(open("facts.json"))
assert len(facts["lost"]) == 1 and facts["lost"][0]["length"] == 4096, facts
assert any("the-bad-one" in f["path"] for f in facts["file_views"][0]["findings"]), facts
P
