"""The whole life of a repository on a server, with stock restic beside us in both directions.

One command for each kind of store (rest.py, s3.py, sftp.py). SIZE is the volume's MiB: SIZE=2048 CEPH_BYTES=12G python3 s3.py.
With it both programs make a repository and live there in full; without, restic's is only adopted."""
import shutil

from common import *

SIZE = int(os.environ.get("SIZE", "48"))
PATIENCE = 1800 + 2 * SIZE  # seconds for one command: the suite has its own deadline


class Place:
    """A repository's location, and the further words that respaldo and restic need to go there."""

    def __init__(self, location, ours=(), theirs=()):
        self.location = location
        self.words = ["-r", location, *ours]
        self.theirs = ["restic", "--no-cache", "-r", location, *theirs]

    def respaldo(self, *words, **kwargs):
        return run([RESPALDO, *self.words, *words], timeout=PATIENCE, **kwargs)

    def restic(self, *words, **kwargs):
        return run([*self.theirs, *words], timeout=PATIENCE, **kwargs)

    def backups(self):
        return json.loads(self.respaldo("--json", "list").stdout)

    def tagged(self, tag):
        found = [b["id"] for b in self.backups() if b["tags"] == [tag]]
        need(len(found) == 1, f"{len(found)} backups are listed with the tag {tag}")
        return found[0]


class Machine:
    """A volume with a filesystem on it, whose contents change."""

    def __init__(self, work, size=SIZE):
        self.work = work
        self.images = Images(work, "disk.img", size=(size + 16) * MIB)
        self.images.lvm("vgcreate", "vg0", self.images.paths[0])
        self.images.lvm("lvcreate", "-L", f"{size}M", "-n", "data", "vg0")
        self.tree = work / "tree"
        (self.tree / "folder").mkdir(parents=True)
        (self.tree / "folder/text").write_bytes(b"some text\n" * 100000)
        with open(self.tree / "folder/random", "wb") as file:
            for _ in range(size // 3):
                file.write(random_bytes(MIB))
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

    def back_up(self, place, tag):
        self.images("-q", *place.words, "backup", "vg0/data", "--tag", tag, timeout=PATIENCE)
        return place.tagged(tag), self.sum()


def require_file(folder, name, expected, who):
    found = [path for path in folder.rglob(name) if path.is_file()]
    need(len(found) == 1 and file_sum(found[0]) == expected, f"{who} restores another {name}: {found}")
    shutil.rmtree(folder)


class Life:
    """What each of the two does in one repository, and how the other reads it. `sums`: those of the images by backup."""

    def __init__(self, place, machine):
        self.place, self.machine, self.back = place, machine, machine.work / "back"
        self.ours, self.theirs = {}, {}
        self.random = file_sum(machine.tree / "folder/random")

    # Each reads a backup of its own and of the other: list, ls, a file, the image.

    def ours_by_us(self, one, expected):
        place = self.place
        need("/vg0/data/files/folder/random" in place.respaldo("ls", one).stdout, "ls does not show the file")
        place.respaldo("-q", "restore", f"{one}:vg0/data", "--files", "--to", self.back, "folder/random")
        require_file(self.back, "random", self.random, "respaldo")
        place.respaldo("-q", "restore", f"{one}:vg0/data", "--to-file", self.back)
        need(file_sum(self.back) == expected, "an image came back with other bytes")
        self.back.unlink()

    def ours_by_restic(self, one, expected):
        place = self.place
        need("/vg0/data/image.raw" in place.restic("ls", one).stdout, "restic's ls does not show the image")
        place.restic("restore", one, "--target", self.back, "--include", "/vg0/data/files/folder/random")
        require_file(self.back, "random", self.random, "restic")
        place.restic("restore", one, "--target", self.back, "--include", "/vg0/data/image.raw")
        require_file(self.back, "image.raw", expected, "restic")

    def theirs_by_restic(self, one, expected):
        place = self.place
        need("folder/random" in place.restic("ls", one).stdout, "restic's ls does not show the file")
        for name, its in (("random", self.random), ("volume", expected)):
            place.restic("restore", one, "--target", self.back, "--include", name)
            require_file(self.back, name, its, "restic")

    def theirs_by_us(self, one, expected):
        place = self.place
        need("folder/random" in place.respaldo("ls", one).stdout, "ls does not show what restic saved")
        tree, volume = (str(path).lstrip("/") for path in (self.machine.tree / "folder/random", self.machine.work / "volume"))
        for name, path, its in (("random", tree, self.random), ("volume", volume, expected)):
            place.respaldo("-q", "restore", one, "--files", "--to", self.back, path)
            require_file(self.back, name, its, "respaldo")

    # Two backups each, the second an increment.

    def save_ours(self):
        for tag in ("ours 1", "ours 2"):
            if self.ours:
                self.machine.change()
            one, expected = self.machine.back_up(self.place, tag)
            self.ours[one] = expected
            self.ours_by_us(one, expected)
        # 2 MiB more of contents, and what the filesystem notes about it.
        stored = [b["summary"]["stored_bytes"] for b in self.place.backups() if b["id"] == one][0]
        need(2 * MIB <= stored <= 2 * MIB + SIZE * MIB // 6, f"the increment stored {stored} bytes")

    def save_theirs(self):
        volume = self.machine.work / "volume"
        for tag in ("theirs 1", "theirs 2"):
            if self.theirs:
                self.machine.change()
            self.machine.images("-q", "dump", "vg0/data", "-o", volume, timeout=PATIENCE)
            self.place.restic("backup", "--tag", tag, self.machine.tree, volume)
            one, expected = self.place.tagged(tag), file_sum(volume)
            volume.unlink()
            self.theirs[one] = expected
            self.theirs_by_restic(one, expected)
        listed = {b["id"] for b in json.loads(self.place.restic("snapshots", "--json").stdout)}
        need(listed == {*self.ours, *self.theirs}, "restic and we do not list the same")

    def check(self):
        self.place.respaldo("check", "--read-data")
        self.place.restic("check", "--read-data")

    def cross(self):
        for one, expected in self.ours.items():
            self.ours_by_restic(one, expected)
        for one, expected in self.theirs.items():
            self.theirs_by_us(one, expected)

    def forget(self):
        """Each the first backup of the other's, so that each prunes what the other packed."""
        mine, its = next(iter(self.ours)), next(iter(self.theirs))
        self.place.respaldo("forget", its)
        self.place.respaldo("prune", "--max-unused", "0")
        self.place.respaldo("check", "--read-data")
        self.place.restic("forget", mine, "--prune", "--max-unused", "0")
        del self.ours[mine], self.theirs[its]
        need({b["id"] for b in self.place.backups()} == {*self.ours, *self.theirs}, "forget left something else")


def live(place, machine, maker="respaldo"):
    """init, backup, list, ls, file and image restore, increment, forget, prune, check --read-data: by both, each on the other's."""
    place.respaldo("init") if maker == "respaldo" else place.restic("init")
    place.respaldo("init", expect=1)
    life = Life(place, machine)
    for save in (life.save_ours, life.save_theirs) if maker == "respaldo" else (life.save_theirs, life.save_ours):
        save()
    life.check()
    life.cross()
    life.forget()
    life.check()
    life.cross()
    print(f"lived in a repository made by {maker}", flush=True)


def adopt(place, machine):
    """What restic made is ours, too."""
    if "SIZE" in os.environ:
        return live(place, machine, "restic")
    place.restic("init")
    place.restic("backup", machine.tree)
    machine.images("-q", *place.words, "backup", "vg0/data")
    need(len(place.backups()) == 2, "two backups are not listed")
    place.respaldo("check", "--read-data")
    place.restic("check", "--read-data")


def live_without_removing(place, machine, words, locks_stay=False):
    """Backups work where nothing can be removed (but locks, when they do not stay); forget and prune say what they would need:
    `words`. In a repository that is there."""
    before = len(place.backups())
    for n in range(2):
        machine.images("-q", *place.words, "backup", "vg0/data", "--tag", f"n{n}")
    backup = place.backups()[0]["id"]
    refused = [("forget", "--keep-last", "1"), ("forget", backup)]
    if locks_stay:  # without an exclusive lock nothing is begun; an append-only server keeps packs alone from being removed
        refused += [("prune",), ("check",)]
    for command in refused:
        said = place.respaldo(*command, expect=None)
        need(said.returncode == 1 and words in said.stderr and "hint:" in said.stderr,
             f"{command[0]} does not say why it cannot: {said.returncode} {said.stderr}")
    need(len(place.backups()) == before + 2, "a backup has gone")
    one, expected = machine.back_up(place, "later")
    need(len(place.backups()) == before + 3, "a backup after a refused forget is not listed")
    place.respaldo("-q", "restore", f"{one}:vg0/data", "--to-file", machine.work / "back")
    need(file_sum(machine.work / "back") == expected, "an image came back with other bytes")
    (machine.work / "back").unlink()
    if not locks_stay:
        place.respaldo("check", "--read-data")
    place.restic("check", "--no-lock", "--read-data")
