"""`repair` beside stock restic: lost indexes, packs in no index, damaged packs, and backups that lose something."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]


def objects(repository, kind):
    return sorted(p for p in (repository / kind).rglob("*") if p.is_file())


def flip(path, offset):
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 0xff]))


def main():
    with folder() as work:
        images = Images(work, "a.img", size=64 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "24M", "-n", "data", "vg0")
        repository = work / "repository"
        ours = [RESPALDO, "-r", repository]
        run([CARE_TOOL, "init", repository])
        with images.activated() as point:
            write_at(point / "vg0/data", 0, random_bytes(23 * MIB))
        images("-q", "-r", repository, "backup", "vg0/data")
        expected = images.sum_of("vg0/data")

        def restored():
            run([*ours, "-q", "restore", "latest:vg0/data", "--to-file", work / "back"])
            digest = file_sum(work / "back")
            data = (work / "back").read_bytes()
            (work / "back").unlink()
            return digest, data

        before = restored()[1]
        # The index is gone, wholly and by damage.
        for path in objects(repository, "index"):
            path.unlink()
        run([*ours, "check"], expect=20)
        said = json.loads(run([*ours, "--json", "repair", "index", "--dry-run"]).stdout)
        need(len(said["added"]) == len(objects(repository, "data")), "a dry run that tells something else")
        need(not objects(repository, "index"), "a dry run that writes")
        run([*ours, "repair", "index"])
        run([*ours, "check", "--read-data"])
        restic(repository, "check", "--read-data")
        need(restored()[0] == expected, "after the index was made anew, other bytes")
        flip(objects(repository, "index")[0], 60)
        run([*ours, "check"], expect=20)
        run([*ours, "repair", "index"])
        restic(repository, "check", "--read-data")
        run([*ours, "repair", "index", "--read-all-packs"])
        restic(repository, "check", "--read-data")
        keep = work / "copy"
        shutil.copytree(repository, keep)

        # A damaged pack: what it still holds moves; the image keeps its size, with a hole that is told.
        largest = max(objects(repository, "data"), key=lambda p: p.stat().st_size)
        flip(largest, largest.stat().st_size // 2)
        need("repair packs" in run([*ours, "check", "--read-data"], expect=20).stdout, "check does not say what helps")
        said = json.loads(run([*ours, "--json", "repair", "packs", largest.name[:12], "--save-in", work]).stdout)
        need(len(said["lost"]) == 1 and said["salvaged"] > 3, f"salvaged {said}")
        need(file_sum(work / f"pack-{largest.name}") == file_sum(pathlib.Path(said["saved_as"][0])), "no copy was kept")
        need(not largest.exists(), "the damaged pack is still there")
        need("repair index" in run([*ours, "check"], expect=20).stdout, "check does not say what follows")
        need("repair index" in run([*ours, "prune"], expect=1).stderr, "prune does not say what follows")
        restic(repository, "check", expect=1)
        said = json.loads(run([*ours, "--json", "repair", "snapshots", "--dry-run"]).stdout)
        need(len(backups(repository)) == 1 and len(said["backups"]) == 1, "a dry run that writes")
        said = run([*ours, "repair", "snapshots"]).stdout
        need("zeros now" in said, f"the hole is not told: {said}")
        need(len(backups(repository)) == 2, "the original was not kept")
        run([*ours, "repair", "snapshots", "--forget"])
        left = backups(repository)
        need(len(left) == 1 and left[0]["tags"] == ["repaired"], f"after --forget: {left}")
        run([*ours, "repair", "index"])
        restic(repository, "check", "--read-data")
        run([*ours, "check", "--read-data"])
        after = restored()[1]
        need(len(after) == len(before), "the image has another size")
        differing = [i for i in range(0, len(before), 4096) if before[i:i + 4096] != after[i:i + 4096]]
        need(0 < len(differing) <= 2 * MIB // 4096, f"{len(differing)} blocks differ")
        need(all(not any(after[i:i + 4096]) for i in differing), "what is lost is not zeros")
        facts = json.loads(run([*ours, "--json", "show", "latest"]).stdout)["volumes"][0]["facts"]
        lost = facts["lost"]
        need(len(lost) == 1 and lost[0]["offset"] == differing[0] and lost[0]["length"] == len(differing) * 4096,
             f"the hole is recorded as {lost}")
        run([*ours, "prune"])
        restic(repository, "check", "--read-data")

        # A missing pack: lengths are still in the index when backups are repaired first.
        shutil.rmtree(repository)
        shutil.copytree(keep, repository)
        for path in objects(repository, "data"):
            if path.stat().st_size > MIB:
                path.unlink()
                break
        need(run([*ours, "prune"], expect=1).stderr.count("repair"), "prune does not say what to do")
        run([*ours, "repair", "snapshots", "--forget"])
        run([*ours, "repair", "index"])
        run([*ours, "prune", "--max-unused", "0"])
        restic(repository, "check", "--read-data")
        run([*ours, "check", "--read-data"])
        need(len(restored()[1]) == len(before), "the image has another size")

        # A backup whose own object is damaged.
        flip(objects(repository, "snapshots")[0], 30)
        run([*ours, "forget", "--keep-last", "1"], expect=1)
        run([*ours, "repair", "snapshots", "--forget"])
        need(not backups(repository), "the damaged backup is still there")
        run([*ours, "prune"], expect=1)  # everything would go
        run([*ours, "prune", "--yes"])
        restic(repository, "check", "--read-data")
        print("indexes, packs and backups were repaired")


main()
