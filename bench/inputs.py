"""What the benchmark saves: volumes on LVM images, made by the program's own LVM and mke2fs."""
import os
import random
import shutil

from measure import run

SOURCES = ["/usr/bin", "/usr/lib", "/usr/share", "/usr/include", "/usr/sbin", "/usr/libexec"]
MIB = 1 << 20


def copy_system_files(folder, budget):
    """Copies real files until the budget (bytes, of blocks of 4 KiB) is used up, again and again if need be."""
    used, copy = 0, 0
    while used < budget * 0.97 and copy < 8:
        before = used
        for source in SOURCES:
            for base, _, names in os.walk(source):
                for name in sorted(names):
                    path = os.path.join(base, name)
                    try:
                        if os.path.islink(path) or not os.path.isfile(path):
                            continue
                        length = os.path.getsize(path)
                        if used + length > budget:
                            continue
                        target = os.path.join(folder, *([f"copy{copy}"] if copy else []), path.lstrip("/"))
                        os.makedirs(os.path.dirname(target), exist_ok=True)
                        shutil.copyfile(path, target)
                        used += (length + 4095) // 4096 * 4096
                    except OSError:
                        continue
                    if used > budget * 0.99:
                        return used
        copy += 1
        if used == before:
            break
    return used


def many_small_files(folder, count):
    """Files of 0 to 8 KiB, 500 to a folder, half of them text."""
    rng = random.Random(5)
    for n in range(count):
        if n % 500 == 0:
            place = folder / f"d{n // 50000}" / f"d{n // 500}"
            place.mkdir(parents=True)
        length = rng.randrange(8192)
        with open(place / f"f{n}", "wb") as f:
            f.write(rng.randbytes(length) if n % 2 else (b"line %d of a small file\n" % n) * (length // 24))


class Volume:
    """bench/volume on `disk`; `raw` has the same bytes, `files` (or None) what is in its filesystem."""

    def __init__(self, respaldo, work, size):
        self.respaldo, self.work, self.size = respaldo, work, size
        self.disk, self.raw, self.files = work / "disk.img", work / "volume.raw", None

    def make_files(self, make):
        self.files = self.work / "files"
        self.files.mkdir()
        return make(self.files)

    def make_filesystem(self, inodes=None):
        with open(self.raw, "wb") as f:
            f.truncate(self.size)
        words = ["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", self.files]
        if inodes:
            words += ["-N", str(inodes)]
        run(words + [self.raw])
        self.make_lvm()

    def make_random(self):
        rng = random.Random(7)
        with open(self.raw, "wb") as f:
            for _ in range(self.size // (8 * MIB)):
                f.write(rng.randbytes(8 * MIB))
        self.make_lvm()

    def make_lvm(self, with_bytes=True):
        with open(self.disk, "wb") as f:
            f.truncate(self.size + 64 * MIB)
        lvm = [self.respaldo, "-q", "--disk", self.disk, "lvm"]
        run(lvm + ["vgcreate", "bench", self.disk])
        run(lvm + ["lvcreate", "-l", "100%FREE" if not with_bytes else str(self.size // (4 * MIB)), "-n", "volume", "bench"])
        if with_bytes:
            # One segment from the first extent on.
            run(["dd", f"if={self.raw}", f"of={self.disk}", "bs=1M", "seek=1", "conv=notrunc,sparse"])

    def remove(self):
        for path in (self.disk, self.raw):
            path.unlink(missing_ok=True)
        if self.files:
            shutil.rmtree(self.files, ignore_errors=True)
