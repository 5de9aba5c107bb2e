"""A drill says the right thing about a good backup, about silently damaged ones, and about ones that cannot be mounted."""
from common import *


def tree(root, count=60):
    for i in range(count):
        (root / f"dir-{i % 5}").mkdir(parents=True, exist_ok=True)
        (root / f"dir-{i % 5}" / f"file-{i}").write_bytes(random_bytes(700 * i))
    return root


def drill(repository, *words, expect):
    result = run([RESPALDO, "-r", repository, "--json", "drill", "--sample", "all", *words], expect=expect)
    return {report["volume"]: report for report in json.loads(result.stdout)}


def told(repository, *words, expect):
    return run([RESPALDO, "-r", repository, "drill", *words], expect=expect).stdout


def debugfs(device, *commands):
    for command in commands:
        run(["debugfs", "-w", "-R", command, device])


def lost_and_repaired(work, images):
    repository = work / "repaired"
    ours = [RESPALDO, "-r", repository]
    run([*ours, "init"])
    images("-q", "-r", repository, "backup", "vg0/good")
    pack = max((p for p in (repository / "data").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    os.chmod(pack, 0o600)
    write_at(pack, pack.stat().st_size // 2, bytes(64))
    run([*ours, "repair", "packs", pack.name, "--save-in", work])
    run([*ours, "repair", "snapshots", "--forget"])
    run([*ours, "repair", "index"])
    run([*ours, "check", "--read-data"])
    lost = json.loads(run([*ours, "--json", "show", "latest"]).stdout)["volumes"][0]["facts"]["lost"]
    need(lost, "nothing was lost")
    report = drill(repository, expect=20)["vg0/good"]
    need(report["verdict"] == "damaged" and "lost in the repository" in f"{report['why']} {report['notes']}", f"{report}")

    def compared():
        return json.loads(images("--json", "-r", repository, "check", "--device", "vg0/good", expect=20).stdout)

    def all_told(said):
        told = [(r["offset"], r["offset"] + r["length"]) for r in said["differing"]]
        need(said["differing_bytes"] > 0 and all(any(r["offset"] < end and start < r["offset"] + r["length"] for start, end in told)
                                                 for r in lost), f"lost {lost}, told {told}")
        return told

    need(all(any(r["offset"] < end and start < r["offset"] + r["length"] for r in lost) for start, end in all_told(compared())),
         "more differs than what was lost")
    with images.activated() as volumes:
        files = [f"/dir-{i % 5}/file-{i}" for i in range(60)]
        debugfs(volumes / "vg0/good", *(f"rm {name}" for name in files))
        # debugfs ends well whatever it could not do.
        for i in range(5):
            left = run(["debugfs", "-R", f"ls -p /dir-{i}", volumes / "vg0/good"]).stdout
            need("/../" in left and "/file-" not in left, f"not removed: {left}")
    all_told(compared())


def only_file(folder, known):
    """The one that is new."""
    found = [path for path in folder.rglob("*") if path.is_file() and path not in known]
    need(len(found) == 1, f"{found}")
    os.chmod(found[0], 0o600)
    return found[0]


def lost_before_the_drill(work, images):
    """What cannot even be looked at is a verdict, and the rest is tried."""
    repository = work / "lost"
    run([RESPALDO, "-r", repository, "init"])
    images("-q", "-r", repository, "backup", "vg0/good")
    known = set(repository.rglob("*"))
    images("-q", "-r", repository, "backup", "vg0/old")
    need(drill(repository, expect=0)["vg0/old"]["verdict"] == "good", "it was good before")
    index = json.loads(restic(repository, "cat", "index", only_file(repository / "index", known).name).stdout)
    pack = next(p["id"] for p in index["packs"] if any(blob["type"] == "tree" for blob in p["blobs"]))
    place = repository / "data" / pack[:2] / pack
    kept = place.read_bytes()
    place.unlink()
    reports = drill(repository, expect=20)
    need(reports["vg0/old"]["verdict"] == "damaged" and "cannot be restored" in reports["vg0/old"]["why"], f"{reports}")
    need(reports["vg0/good"]["verdict"] == "good", f"{reports}")
    place.write_bytes(kept)

    snapshot = only_file(repository / "snapshots", known)
    byte = snapshot.read_bytes()[20]
    write_at(snapshot, 20, bytes([byte ^ 1]))
    need({name: report["verdict"] for name, report in drill(repository, expect=20).items()} == {"vg0/good": "good"}, "unreadable")
    text = told(repository, "vg0/good", expect=20)
    need("GOOD" in text and "cannot be read" in text, text)
    refused = run([RESPALDO, "-r", repository, "restore", "latest", "--to-file", work / "restored"], expect=1)
    need(snapshot.name[:8] in refused.stderr and "the newest that can be read" in refused.stderr, refused.stderr)
    readable = next(p.name for p in (repository / "snapshots").iterdir() if p != snapshot)
    run([RESPALDO, "-q", "-r", repository, "restore", readable[:8], "--to-file", work / "restored"])
    write_at(snapshot, 20, bytes([byte]))
    drill(repository, expect=0)


def no_scratch_left(scratch):
    need(not list(scratch.iterdir()), f"left in the scratch: {list(scratch.iterdir())}")


def main():
    with folder() as work:
        scratch = work / "scratch"
        scratch.mkdir()
        ENV["TMPDIR"] = str(scratch)
        files = tree(work / "tree")
        images = Images(work, "a.img", size=256 * MIB)
        images.lvm("vgcreate", "-qq", "vg0", images.paths[0])
        names = ["good", "torn", "rootless", "swap", "wiped", "old"]
        for name in names:
            images.lvm("lvcreate", "-qq", "-L", "20M", "-n", name, "vg0")
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        with images.activated() as volumes:
            for name, kind in (("good", "ext4"), ("torn", "ext4"), ("rootless", "ext4"), ("wiped", "ext4"), ("old", "ext2")):
                run(["mke2fs", "-q", "-F", "-t", kind, "-d", files, volumes / "vg0" / name])
            run(["mkswap", volumes / "vg0/swap"])
        images("-q", "-r", repository, "backup", "vg0/wiped")
        with images.activated() as volumes:
            # Files are read without a complaint; e2fsck counts better.
            debugfs(volumes / "vg0/torn", "set_inode_field /dir-1/file-1 links_count 7")
            debugfs(volumes / "vg0/rootless", "clri <2>")
            write_at(volumes / "vg0/wiped", 0, bytes(MIB))
        images("-q", "-r", repository, "backup", *(f"vg0/{name}" for name in names), expect=3)

        reports = drill(repository, expect=20)
        verdicts = {name.split("/")[1]: report["verdict"] for name, report in reports.items()}
        need(verdicts == {"good": "good", "torn": "damaged", "rootless": "unmountable", "swap": "unchecked", "wiped": "unmountable",
                          "old": "good"}, f"{verdicts}\n{json.dumps(reports, indent=1)}")
        good = reports["vg0/good"]["filesystems"][0]
        need(good["checker"] == "e2fsck -fn" and good["compared"] == good["files"] == 60 and good["different"] == 0, f"{good}")
        need(reports["vg0/torn"]["filesystems"][0]["checker_exit_code"] == 4, f"{reports['vg0/torn']}")
        need(any("ref count" in line for line in reports["vg0/torn"]["filesystems"][0]["checker_says"]), f"{reports['vg0/torn']}")
        need("cannot be mounted" in reports["vg0/rootless"]["why"] and "root directory" in reports["vg0/rootless"]["why"], "why rootless")
        need("ext4" in reports["vg0/wiped"]["why"], f"{reports['vg0/wiped']}")
        text = told(repository, "vg0/good", "--sample", "50%", expect=0)
        need("GOOD" in text and "the restore took" in text, text)
        text = told(repository, "vg0/rootless", expect=20)
        need("UNMOUNTABLE" in text, text)
        run([RESPALDO, "-r", repository, "drill", "vg0/nothing"], expect=1)
        run([RESPALDO, "-r", repository, "drill", "--sample", "200%"], expect=2)
        no_scratch_left(scratch)

        # Bytes flip on the medium: the backup is listed, and is not what it was.
        flipped = work / "flipped"
        run([RESPALDO, "-r", flipped, "init"])
        images("-q", "-r", flipped, "backup", "vg0/good")
        need(drill(flipped, expect=0)["vg0/good"]["verdict"] == "good", "it was good before")
        pack = max((p for p in (flipped / "data").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        os.chmod(pack, 0o600)
        for at in range(20000, pack.stat().st_size - 20000, 30000):
            write_at(pack, at, bytes([RANDOM.randrange(256) for _ in range(16)]))
        report = drill(flipped, expect=20)["vg0/good"]
        need(report["verdict"] == "damaged" and "cannot be restored" in report["why"], f"{report}")
        no_scratch_left(scratch)

        lost_before_the_drill(work, images)
        no_scratch_left(scratch)

        # What repair could not bring back is zeros in the backup: a drill says so, though no checker may see it; and beside the
        # volume it is a difference, also when the place is free there by now.
        lost_and_repaired(work, images)
        no_scratch_left(scratch)

        # No room in the scratch: it is the drill that failed, not the backup.
        if os.geteuid() == 0:
            small = work / "small"
            small.mkdir()
            run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small])
            try:
                result = run([RESPALDO, "-r", repository, "drill", "vg0/good", "--scratch", small], expect=1)
                need("--scratch" in result.stderr, result.stderr)
                no_scratch_left(small)
            finally:
                run(["umount", small])
        else:
            print("NOT TESTED: a full scratch (needs root)")


main()
