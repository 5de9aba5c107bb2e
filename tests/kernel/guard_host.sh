cd out
RESTIC_PASSWORD=secret restic --no-cache -r repo check --read-data
python3 - <<'P'
import json
facts = json.load(open("facts.json"))
assert facts["cow_size"] > 12 << 20 and facts["cow_used"] > 16 << 20, facts
P
