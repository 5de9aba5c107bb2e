"""Care of a repository that has parity: after forget, prune, repair and copy every object has parity that is right, none is
left of what is gone, and damage anywhere is healed byte for byte."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]


def objects(repository):
    found = {path.name: path for kind in ("data", "index", "snapshots", "keys") for path in (repository / kind).rglob("*")
             if path.is_file()}
    return found | {"0" * 64: repository / "config"}


def judge(repository, what, lost=frozenset()):
    """A sidecar for each object and for nothing else; and each object comes back from a flipped byte.
    That of what was lost, not removed, stays: `parity restore` could bring it back."""
    ours = [RESPALDO, "-r", repository]
    there = objects(repository)
    sidecars = {path.name for path in (repository / "parity/objects").rglob("*") if path.is_file()}
    sidecars.discard("f" * 64)  # the settings of parity itself
    sidecars -= lost
    need(sidecars == set(there), f"{what}: parity of {len(sidecars)} objects, not {len(there)}: {sorted(sidecars ^ set(there))[:4]}")
    before = {name: file_sum(path) for name, path in there.items()}
    packs = [name for name, path in there.items() if path.parent.parent.name == "data"]
    need(packs, f"{what}: no packs are left")
    for name in packs:
        os.chmod(there[name], 0o600)
        with open(there[name], "r+b") as file:
            at = RANDOM.randrange(there[name].stat().st_size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x55]))
    repaired = json.loads(run([*ours, "--json", "check", "--repair", "--read-data"]).stdout)["repaired"]
    stale = [item["id"] for item in repaired if item["outcome"] == "stale_parity"]
    need(set(stale) <= lost, f"{what}: stale parity {stale}")
    healed = [item["id"] for item in repaired if item["outcome"] == "healed"]
    need(sorted(healed) == sorted(packs) and len(healed) + len(stale) == len(repaired), f"{what}: {repaired}")
    need({name: file_sum(path) for name, path in there.items()} == before, f"{what}: other bytes than before the damage")
    run([*ours, "check", "--read-data"])
    restic(repository, "check", "--read-data")


def main():
    with folder() as work:
        images = Images(work, "a.img", size=64 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "16M", "-n", "data", "vg0")
        repository, target = work / "repository", work / "target"
        for path in (repository, target):
            run([CARE_TOOL, "init", path])
            run([RESPALDO, "-r", path, "parity", "enable", "5%"])
        ours, sums = [RESPALDO, "-q", "-r", repository], {}
        for n in range(4):
            with images.activated() as point:
                write_at(point / "vg0/data", n * 3 * MIB, random_bytes(6 * MIB))
            saved = json.loads(images("--json", "-q", "-r", repository, "backup", "vg0/data").stdout)["backup"]
            sums[saved] = images.sum_of("vg0/data")
        judge(repository, "after backups")

        def restored(place, sums):
            listed = [backup["id"] for backup in backups(place)]
            need(len(listed) == 2, f"{place}: {len(listed)} backups")
            for backup in listed:
                run([RESPALDO, "-q", "-r", place, "restore", f"{backup}:vg0/data", "--to-file", work / "back"])
                need(file_sum(work / "back") == sums[backup], f"backup {backup} came back otherwise")
                (work / "back").unlink()

        packs = set(objects(repository))
        run([*ours, "forget", "--keep-last", "2", "--prune", "--max-unused", "0"])
        need(set(objects(repository)) - packs, "nothing was repacked: this proves nothing")
        judge(repository, "after forget and prune")
        restored(repository, sums)

        ENV["RESPALDO_FROM_PASSWORD"] = "endtoend"
        copied = json.loads(run([RESPALDO, "--json", "-r", target, "copy", "--from-repo", repository]).stdout)["backups"]
        judge(target, "after copy")
        restored(target, {copy["to"]: sums[copy["from"]] for copy in copied})

        lost = {path.name for path in (repository / "index").iterdir()}
        for path in (repository / "index").iterdir():
            path.unlink()
        run([*ours, "repair", "index"])
        judge(repository, "after repair index", lost)
        largest = max((repository / "data").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
        run([*ours, "repair", "packs", largest.name[:12], "--save-in", work])
        run([*ours, "repair", "snapshots", "--forget"])
        run([*ours, "repair", "index"])
        run([*ours, "prune", "--max-unused", "0"])
        judge(repository, "after repair of packs and backups", lost)
        restored(repository, sums)

        settings = repository / "parity/settings"
        settings.unlink()
        need("settings of parity are lost" in run([*ours, "check"]).stdout, "check does not tell that the settings are lost")
        run([*ours, "check", "--repair"])
        need(settings.exists(), "check --repair does not write the settings again")
        judge(repository, "after its settings were lost", lost)
        print("parity was right after each step")


main()
