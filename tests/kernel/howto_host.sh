python3 - <<'P'
import json
rows = lambda name, kind: [row for report in json.load(open(f"out/{name}.json"))["report"] for row in report[kind]]
groups = {group["name"]: group for group in json.load(open("out/layout.json"))["volume_groups"]}
compared = 0
for vg in rows("vgs", "vg"):
    ours = groups[vg["vg_name"]]
    for field, name in (("size", "vg_size"), ("free", "vg_free"), ("extent_size", "vg_extent_size"), ("seqno", "vg_seqno")):
        assert ours[field] == int(vg[name]), (vg["vg_name"], name, ours[field], vg[name])
        compared += 1
for pv in rows("pvs", "pv"):
    if not pv["vg_name"]:
        continue
    ours = next(p for p in groups[pv["vg_name"]]["pvs"] if p["uuid"] == pv["pv_uuid"])
    for field, name in (("size", "pv_size"), ("free", "pv_free"), ("data_start", "pe_start")):
        assert ours[field] == int(pv[name]), (pv["pv_name"], name)
        compared += 1
for lv in rows("lvs", "lv"):
    ours = next(v for v in groups[lv["vg_name"]]["volumes"] if v["uuid"] == lv["lv_uuid"])
    assert ours["size"] == int(lv["lv_size"]) and ours["attributes"] == lv["lv_attr"], lv["lv_name"]
    compared += 2
assert compared >= 18, compared
print(compared, "figures agree")
P
