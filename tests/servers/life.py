"""The whole life of a repository on a server, with stock restic beside us in both directions."""
import shutil

from common import *


class Machine:
    """A volume with a filesystem on it, whose contents change."""

    def __init__(self, work, size=48):
        self.work = work
        self.images = Images(work, "disk.img", size=(size + 16) * MIB)
        self.images.lvm("vgcreate", "vg0", self.images.paths[0])
        self.images.lvm("lvcreate", "-L", f"{size}M", "-n", "data", "vg0")
        self.tree = work / "tree"
        (self.tree / "folder").mkdir(parents=True)
        (self.tree / "folder/random").write_bytes(random_bytes(size * MIB // 3))
        (self.tree / "folder/text").write_bytes(b"some text\n" * 100000)
        self.fill()

    def fill(self):
        """The tree as an ext4 filesystem on the volume."""
        with self.images.activated() as point:
            run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", "hash_seed=00000000-0000-0000-0000-000000000001", "-U",
                 "00000000-0000-0000-0000-000000000002", "-d", self.tree, point / "vg0/data"])

    def change(self):
        (self.tree / f"more {RANDOM.randrange(1 << 30)}").write_bytes(random_bytes(2 * MIB))
        self.fill()

    def sum(self):
        return self.images.sum_of("vg0/data")


def live(location, machine):
    """init to prune; restic sees what we do, and we what restic does."""
    work, ours = machine.work, [RESPALDO, "-r", location]
    run([*ours, "init"])
    run([*ours, "init"], expect=1)
    sums = []
    for n in range(2):
        if n:
            machine.change()
        machine.images("-q", "-r", location, "backup", "vg0/data", "--tag", f"n{n}")
        sums.append(machine.sum())
    listed = backups(location)
    need(len(listed) == 2, "two backups are not listed")
    ids = [next(b["id"] for b in listed if b["tags"] == [f"n{n}"]) for n in range(2)]
    need("random" in run([*ours, "ls", "latest"]).stdout, "ls does not show the file")
    for one, expected in zip(ids, sums):
        run([*ours, "-q", "restore", f"{one}:vg0/data", "--to-file", work / "back"])
        need(file_sum(work / "back") == expected, "an image came back with other bytes")
        (work / "back").unlink()
    run([*ours, "-q", "restore", "latest:vg0/data", "--files", "--to", work / "files", "folder"])
    found = list((work / "files").rglob("random"))
    need(len(found) == 1 and file_sum(found[0]) == file_sum(machine.tree / "folder/random"), "a file came back wrong")
    shutil.rmtree(work / "files")

    # Stock restic on the same repository.
    restic(location, "check", "--read-data")
    run(["restic", "--no-cache", "-r", location, "restore", ids[1], "--target", work / "files", "--include",
         "/vg0/data/image.raw"])
    need(file_sum(work / "files/vg0/data/image.raw") == sums[1], "restic restores another image")
    shutil.rmtree(work / "files")
    restic(location, "backup", machine.tree)
    need(len(backups(location)) == 3, "restic's backup is not listed")
    need("random" in run([*ours, "ls", "latest"]).stdout, "ls does not show what restic saved")

    run([*ours, "forget", ids[0]])
    run([*ours, "prune", "--max-unused", "0"])
    run([*ours, "check", "--read-data"])
    restic(location, "forget", "--group-by", "", "--keep-last", "2", "--prune")
    need(len(backups(location)) == 2, "restic and we do not agree on what is kept")
    run([*ours, "-q", "restore", f"{ids[1]}:vg0/data", "--to-file", work / "back"])
    need(file_sum(work / "back") == sums[1], "an image came back with other bytes after prune")
    (work / "back").unlink()
    restic(location, "check", "--read-data")


def live_without_removing(location, machine, words, **environment):
    """Backups work where nothing can be removed (but locks, perhaps), and forget says what it would need: `words`."""
    ours = [RESPALDO, "-r", location]
    run([*ours, "init"])
    ENV.update(environment)
    for n in range(2):
        said = machine.images("-q", "-r", location, "backup", "vg0/data", "--tag", f"n{n}")
    said = run([*ours, "forget", "--keep-last", "1"], expect=None)
    need(said.returncode != 0 and words in said.stderr, f"forget does not say why it cannot: {said.returncode} {said.stderr}")
    need(len(backups(location)) == 2, "a backup has gone")
    machine.images("-q", "-r", location, "backup", "vg0/data", "--tag", "later")
    need(len(backups(location)) == 3, "a backup after a refused forget is not listed")
    run([*ours, "check", "--read-data"])
    restic(location, "check", "--no-lock")


def adopt(location, machine):
    """What restic made is ours, too."""
    run(["restic", "--no-cache", "-r", location, "init"])
    restic(location, "backup", machine.tree)
    machine.images("-q", "-r", location, "backup", "vg0/data")
    need(len(backups(location)) == 2, "two backups are not listed")
    run([RESPALDO, "-r", location, "check", "--read-data"])
    restic(location, "check", "--read-data")
