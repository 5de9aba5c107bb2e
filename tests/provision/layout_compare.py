"""Compares `respaldo --json layout` with lvs, vgs, pvs and lsblk, field by field."""
import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
load = lambda name: json.loads((out / name).read_text())
layout = load("layout.json")
wrong = []
compared = 0


def same(what, ours, theirs):
    global compared
    compared += 1
    if ours != theirs:
        wrong.append(f"{what}: {ours!r}, but {theirs!r}")


def rows(name, kind):
    return [row for report in load(name)["report"] for row in report.get(kind, [])]


vgs, pvs, lvs = rows("vgs.json", "vg"), rows("pvs.json", "pv"), rows("lvs.json", "lv") + rows("lvs.json", "seg")
for theirs in vgs:
    ours = next(vg for vg in layout["volume_groups"] if vg["uuid"] == theirs["vg_uuid"])
    for field, name in (("name", "vg_name"),):
        same(f"VG {name}", ours[field], theirs[name])
    for field, name in (("size", "vg_size"), ("free", "vg_free"), ("extent_size", "vg_extent_size"), ("seqno", "vg_seqno")):
        same(f"VG {name}", ours[field], int(theirs[name]))
    listed = {row["pv_uuid"]: row for row in pvs if row["pv_name"]}
    for pv in ours["pvs"]:
        same("PV name", pv["name"], listed[pv["uuid"]]["pv_name"])
        for field, name in (("size", "pv_size"), ("free", "pv_free"), ("data_start", "pe_start")):
            same(f"PV {pv['name']} {name}", pv[field], int(listed[pv["uuid"]][name]))
    same("number of PVs", len(ours["pvs"]), int(theirs["pv_count"]))

ours = {lv["uuid"]: lv for vg in layout["volume_groups"] for lv in vg["volumes"]}
seen = {row["lv_uuid"]: row for row in lvs if not row["lv_name"].startswith("[")}
same("the volumes", sorted(ours), sorted(seen))
for uuid, lv in ours.items():
    theirs = seen[uuid]
    same("LV name", lv["name"], theirs["lv_name"])
    same("LV attributes", lv["attributes"], theirs["lv_attr"])
    same("LV origin", lv.get("origin", ""), theirs["origin"])
    same("LV pool", lv.get("pool", ""), theirs["pool_lv"])
    names = [theirs[field] for field in ("lv_path", "lv_dm_path") if theirs[field]]
    if lv["name"] != "pool":
        names.append(f"/dev/dm-{theirs['lv_kernel_minor']}")
        same("LV names", lv["names"], names)
    if "cow" in lv:
        same("COW size", lv["cow"]["size"], int(theirs["lv_size"]))
        same("snapshot size", lv["size"], int(theirs["origin_size"]))
        same("COW fill", f"{lv['cow']['percent']:.2f}", theirs["data_percent"])
        same("COW chunk", lv["cow"]["chunk"], int(theirs["chunk_size"]))
    else:
        same("LV size", lv["size"], int(theirs["lv_size"]))
        if theirs["data_percent"]:
            same("LV data percent", f"{lv['data_percent']:.2f}", theirs["data_percent"])

devices = {}


def blkid(path):
    return dict(line.split("=", 1) for line in (out / f"blkid.{path.split('/')[-1]}").read_text().splitlines() if "=" in line)


def walk(nodes):
    for node in nodes:
        devices[node["path"]] = node
        walk(node.get("children", []))


walk(load("lsblk.json")["blockdevices"])


def block(what, ours, theirs):
    same(f"{what} size", ours["size"], theirs["size"])
    found = blkid(ours["path"])
    for field, name in (("content", "TYPE"), ("label", "LABEL"), ("uuid", "UUID")):
        same(f"{what} {name}", ours.get(field), found.get(name))
    same(f"{what} mount point", [m["target"] for m in ours.get("mounts", [])], [theirs["mountpoint"]] if theirs["mountpoint"] else [])


disks = [node for node in devices.values() if node["type"] == "disk"]
same("the disks", sorted(d["path"] for d in layout["disks"] if d.get("kind", "disk") == "disk"), sorted(d["path"] for d in disks))
for disk in layout["disks"]:
    theirs = devices[disk["path"]]
    block(disk["path"], disk, theirs)
    for field, name in (("physical_sector", "phy-sec"), ("logical_sector", "log-sec"), ("read_only", "ro"), ("removable", "rm")):
        same(f"{disk['path']} {name}", disk[field], theirs[name])
    for part in disk.get("partitions", []):
        block(part["path"], part, devices[part["path"]])
        same(f"{part['path']} type", part["type"], blkid(part["path"])["PART_ENTRY_TYPE"])
for lv in ours.values():
    for name in lv["names"]:
        if name in devices and "cow" not in lv and lv["name"] != "pool":
            if lv["name"] != "thin":
                same(f"{name} filesystem", (lv.get("content"), lv.get("filesystem_uuid")), (blkid(name)["TYPE"], blkid(name)["UUID"]))
            same(f"{name} size by lsblk", lv["size"], devices[name]["size"])

kinds = [finding["kind"] for finding in layout["findings"]]
same("fstab's missing device is found", "fstab_device_missing" in kinds, True)
same("the small COW store is found", "snapshot_can_overflow" in kinds, True)
checks = {check["kind"]: check["severity"] for check in load("doctor.json")["checks"]}
for kind, severity in (("fstab_device_missing", "problem"), ("repository_on_same_disk", "warning"), ("never_checked", "warning"),
                       ("never_saved", "warning"), ("room_for_snapshot", "ok"), ("root", "ok"), ("lvm2", "ok"), ("repository", "ok"), ("locks", "ok")):
    same(f"doctor: {kind}", checks.get(kind), severity)
later = {check["kind"]: check["severity"] for check in load("doctor2.json")["checks"]}
same("doctor: the check is remembered", later.get("checked"), "ok")
same("doctor: fstab is well", later.get("fstab"), "ok")

print(f"{compared} figures compared, {len(wrong)} differ")
if wrong or compared < 60:
    sys.exit("\n".join(wrong) or "too little was compared")
