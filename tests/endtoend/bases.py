"""Night after night with bases: a volume that an activation serves, and one in quiet images. Each increment is what a full
backup is (the same trees), and reads little; what cannot be proven is read, and the reason is told."""
from common import *

VOLUME = 400 * MIB


def trees(repository, backup):
    """Ids of the file view's tree and of the image's blobs, as restic sees them."""
    def tree(name):
        return {n["name"]: n for n in json.loads(restic(repository, "cat", "blob", name).stdout)["nodes"]}
    root = json.loads(restic(repository, "cat", "snapshot", backup).stdout)["tree"]
    lv = tree(tree(tree(root)["vg0"]["subtree"])["root"]["subtree"])
    return lv["files"]["subtree"], lv["image.raw"]["content"]


class Nights:
    def __init__(self, images, repository):
        self.images, self.repository, self.number = images, repository, 0

    def backup(self, *words, **kwargs):
        result = self.images("--json", "-r", self.repository, "backup", "vg0/root", *words, **kwargs)
        return json.loads(result.stdout)

    def check(self, saved, reference=None):
        """Against a full backup of the same state."""
        reference = reference or self.backup("--full")
        need(trees(self.repository, saved["backup"]) == trees(self.repository, reference["backup"]),
             "the increment is not what a full backup is")

    def bases(self):
        return json.loads(self.images("--json", "base", "list", "vg0/root").stdout)


def change(work, device, number):
    """About one percent, through the filesystem."""
    commands = []
    for i in range(4):
        fresh = work / f"fresh{number}-{i}"
        fresh.write_bytes(random_bytes(RANDOM.randrange(1, 900000)))
        commands.append(f"write \"{fresh}\" fresh{number}-{i}")
    commands += [f"rm old{RANDOM.randrange(200)}", f"rm fresh{number - 1}-0", f"mkdir folder{number}"]
    script = work / "script"
    script.write_text("\n".join(commands) + "\n")
    run(["debugfs", "-w", "-f", script, device])


def live(work, images, nights):
    with images.activated() as point:
        device = point / "vg0/root"
        tree = work / "tree"
        tree.mkdir()
        for i in range(200):
            (tree / f"old{i}").write_bytes(random_bytes(RANDOM.randrange(1, 600000)))
        run(["mke2fs", "-q", "-t", "ext4", "-d", tree, device])
        first = nights.backup("--keep-base")
        need(first["volumes"][0]["base_kept"] and "base_used" not in first["volumes"][0], str(first))
        for number in range(3):
            before = nights.bases()
            need(len(before) == 1, f"one base is kept, not {before}")
            change(work, device, number)
            saved = nights.backup("--keep-base")
            shown = json.loads(images("--json", "-r", nights.repository, "show", saved["backup"]).stdout)["volumes"][0]["base"]
            need(shown["used"]["source"] == "thick" and shown["used"]["reused_bytes"] > 0 and "kept" in shown, f"shown {shown}")
            need("were not read again" in images("-r", nights.repository, "show", saved["backup"]).stdout, "no words")
            volume = saved["volumes"][0]
            need(volume["base_used"]["token"] == before[0]["token"], str(volume))
            need(volume["bytes_read"] < VOLUME * 3 // 100, f"{volume['bytes_read']} bytes were read")
            nights.check(saved)
        # Nothing at all has changed.
        volume = nights.backup()["volumes"][0]
        need(volume["bytes_read"] < 4 * MIB and "base_used" in volume, str(volume))
        # --quick has no use here: the base is proven. Without the base it trusts inodes.
        nights.images("base", "remove", "vg0/root", "--yes")
        need(nights.bases() == [], "the base is gone")
        change(work, device, 3)
        age_files(device)
        nights.backup("--raw")
        full = nights.backup()
        need("base_used" not in full["volumes"][0], str(full))
        change(work, device, 4)
        saved = nights.backup("--quick")
        volume = saved["volumes"][0]
        need(volume["base_used"]["source"] == "quick" and volume["bytes_read"] < VOLUME // 10, str(volume))
        nights.check(saved)


def quiet(images, nights):
    def write(offset, data):
        with images.activated() as point:
            write_at(point / "vg0/root", offset, data)

    saved = nights.backup("--keep-base")
    need(saved["volumes"][0]["base_kept"], str(saved))
    write(200 * MIB, random_bytes(5000))
    saved = nights.backup("--keep-base", "--cow", "12M")
    need("base_used" in saved["volumes"][0] and saved["volumes"][0]["bytes_read"] < 12 * MIB, str(saved))
    nights.check(saved)
    # One that overflows is lost: said, recorded, and made good by reading everything.
    write(100 * MIB, random_bytes(16 * MIB))
    need(not nights.bases()[0]["valid"], "the base is dead")
    saved = nights.backup("--keep-base")
    volume = saved["volumes"][0]
    need("overflow" in volume.get("base_refused", "") and "base_used" not in volume, str(volume))
    nights.check(saved)
    need([base["valid"] for base in nights.bases()] == [True], "the dead base made room for a new one")


def came_back(work, images, nights):
    """The base was gone while the volume was written, and is back with all that identifies it."""
    def write():
        with images.activated() as point:
            write_at(point / "vg0/root", 220 * MIB, random_bytes(4 * MIB))

    def refused(why):
        saved = nights.backup("--keep-base")
        volume = saved["volumes"][0]
        need(why in volume.get("base_refused", "") and "base_used" not in volume, f"not {why}: {volume}")
        nights.check(saved)

    old = work / "old.vg"
    nights.backup("--keep-base")
    images.lvm("vgcfgbackup", "-f", old, "vg0")
    images("base", "remove", "vg0/root", "--yes")
    write()
    images.lvm("vgcfgrestore", "-f", old, "vg0")
    refused("has come back")
    # Another machine cannot know what was removed, but it sees the backups.
    images.lvm("vgcfgbackup", "-f", old, "vg0")
    nights.backup("--keep-base")
    (pathlib.Path(STATE) / "removed_bases").unlink()
    write()
    images.lvm("vgcfgrestore", "-f", old, "vg0")
    refused("kept is gone")
    base = nights.bases()[0]["base"]
    images.lvm("lvconvert", "--yes", "--splitsnapshot", base)
    write()
    images.lvm("lvconvert", "--yes", "-s", "vg0/root", base)
    refused("attached again")


def killed(images, nights):
    """Killed at random moments: there is a base with its backup, or a leftover that is no base."""
    argv = images.command("-q", "-r", nights.repository, "backup", "vg0/root", "--keep-base")
    moments, kills = Moments(duration(argv)), 0
    for _ in range(80):
        if kills == 8:
            break
        start = time.monotonic()
        code, _, error = kill_after(argv, moments.choose())
        if code == -signal.SIGKILL:
            kills += 1
        else:
            need(code == 0, f"the backup failed by itself: {error}")
            moments.done_after(time.monotonic() - start)
        for line in images.lvm("lvs", "--noheadings", "-o", "lv_name,lv_tags").stdout.splitlines():
            name, *tags = line.split()
            if name.startswith("respaldo_") and "respaldo_base" not in " ".join(tags):
                images.lvm("lvremove", "-f", f"vg0/{name}")
        need(len(nights.bases()) >= 1, "a base is there")
        with images.activated() as point:
            write_at(point / "vg0/root", RANDOM.randrange(140 * MIB, 250 * MIB), random_bytes(4096))
        saved = nights.backup()
        volume = saved["volumes"][0]
        # Between the listing and the tagging it looks as if a newer base had gone.
        need("base_used" in volume or "kept is gone" in volume["base_refused"], str(volume))
        nights.check(saved)
    need(kills == 8, f"only {kills} kills hit")


def main():
    with folder() as work:
        images = Images(work, "a.img", size=700 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", f"{VOLUME}b", "-n", "root", "vg0")
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        nights = Nights(images, repository)
        live(work, images, nights)
        quiet(images, nights)
        came_back(work, images, nights)
        killed(images, nights)
        run([RESPALDO, "-r", repository, "unlock"])  # of those that were killed
        restic(repository, "check", "--read-data")
        print(f"{len(backups(repository))} backups are whole")


main()
