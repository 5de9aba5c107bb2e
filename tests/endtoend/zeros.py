"""Volumes that are zeros for the most part: an all but empty TiB is cheap every way, and what is stored of it is exact; restic
reads the long zero blobs; a file with zeros written into it can be trusted by its inode."""
from common import *

TIB = 1 << 40
GIB = 1 << 30
FIRST_EXTENT = MIB  # of a volume that has a disk for itself


class Group(Images):
    def __init__(self, work, size):
        super().__init__(work, "disk.img", size=size + 64 * MIB)
        self.lvm("vgcreate", "vg0", self.paths[0])
        self.lvm("lvcreate", "-l", str(size // (4 * MIB)), "-n", "root", "vg0")
        self.repository = work / "repository"
        self("-q", "-r", self.repository, "init")

    def write(self, offset, data):
        write_at(self.paths[0], FIRST_EXTENT + offset, data)

    def backup(self, *words):
        return json.loads(self("--json", "-r", self.repository, "backup", "vg0/root", *words).stdout)

    def restore(self, saved, target):
        self("-q", "-r", self.repository, "restore", saved["backup"], "--to-file", target)


def tree_of(repository, backup):
    return json.loads(restic(repository, "cat", "snapshot", backup).stdout)["tree"]


def largest_size(argv):
    """Of the process, resident, in bytes."""
    process = subprocess.Popen([str(word) for word in argv], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    need(process.returncode == 0, f"{argv}: {error}")
    return usage.ru_maxrss * 1024


def need_small(what, argv):
    size = largest_size(argv)
    need(size < 300 * MIB, f"{what}: {size // MIB} MiB of memory")


def islands_of(path, most=64 * MIB):
    """The bytes of a sparse file that are not zeros, by the number of their block of 4 KiB."""
    blocks, seen, at = {}, 0, 0
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            seen += end - at
            need(seen <= most, f"{path} has more than {most} bytes that are no holes")
            for block in range(at // 4096, (end + 4095) // 4096):
                data = os.pread(f.fileno(), 4096, block * 4096)
                if data.strip(b"\0"):
                    blocks[block] = data
            at = end
    return size, blocks


def tebibyte(work):
    group = Group(work, TIB)
    islands = {0: 5000, 64 * GIB - 3000: 9000, 64 * GIB * RANDOM.randrange(2, 15) + RANDOM.randrange(GIB): 700000, TIB - 1000: 1000}
    expected = {}
    for offset, length in islands.items():
        data = random_bytes(length)
        group.write(offset, data)
        for at in range(offset // 4096 * 4096, offset + length, 4096):
            block = bytearray(expected.get(at // 4096, bytes(4096)))
            begin, end = max(at, offset), min(at + 4096, offset + length)
            block[begin - at:end - at] = data[begin - offset:end - offset]
            expected[at // 4096] = bytes(block)
    base = group.command("-q", "-r", group.repository)
    need_small("backup", base + ["backup", "vg0/root"])
    stored = sum(path.stat().st_size for path in group.repository.rglob("*") if path.is_file())
    need(stored < 4 * MIB, f"{stored} bytes are stored")
    need_small("second backup", base + ["backup", "vg0/root"])
    first, second = (entry["id"] for entry in backups(group.repository))
    need(tree_of(group.repository, first) == tree_of(group.repository, second), "an unchanged volume is stored again")
    restic(group.repository, "check", "--read-data")
    sizes = [json.loads(line) for line in restic(group.repository, "ls", "--json", first).stdout.splitlines()]
    parts = [node["size"] for node in sizes if node.get("name", "").startswith("image.")]
    need(parts == [64 * GIB] * 16, f"the parts are {parts}")
    need_small("restore", base + ["restore", first, "--to-file", work / "restored"])
    size, blocks = islands_of(work / "restored")
    need(size == TIB and blocks == expected, "the volume came back as something else")
    # Onto what is there already, too.
    write_at(work / "restored", 7 * GIB + 5, b"not what it was")
    need_small("restore in place", base + ["restore", first, "--to-file", work / "restored", "--in-place", "--yes"])
    size, blocks = islands_of(work / "restored")
    need(size == TIB and blocks == expected, "the file did not become the volume again")
    mounted(work, group, first, expected)


def mounted(work, group, backup, expected):
    point = work / "mounted"
    point.mkdir()
    run([RESPALDO, "-q", "-r", group.repository, "mount", point])
    try:
        shown = next(name for name in os.listdir(point / "ids") if backup.startswith(name))
        with open(point / "ids" / shown / "vg0/root/image.raw", "rb") as f:
            for block in [*expected, *(RANDOM.randrange(TIB // 4096) for _ in range(50))]:
                need(os.pread(f.fileno(), 4096, block * 4096) == expected.get(block, bytes(4096)), f"block {block} reads wrong")
    finally:
        run(["fusermount3", "-u", point])


def filesystem(work):
    """restic restores what it reads; with --quick a file that has long zeros in it is trusted."""
    size, written = 200 * MIB, 70 * MIB
    group = Group(work, size)
    tree, plain = work / "tree", work / "volume.raw"
    tree.mkdir()
    content = random_bytes(written)
    (tree / "long").write_bytes(content)
    with open(plain, "wb") as f:
        f.truncate(size)
    run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, plain])
    # Zeros in blocks that the file has, on the disk and not through the filesystem, which would make holes.
    inode = run(["debugfs", "-R", "blocks /long", plain]).stdout.split()
    with open(plain, "r+b") as f:
        for number, block in enumerate(map(int, inode)):
            if 10 * MIB <= number * 4096 < 50 * MIB:
                os.pwrite(f.fileno(), bytes(4096), block * 4096)
    content = content[:10 * MIB] + bytes(40 * MIB) + content[50 * MIB:]
    age_files(plain)
    group.write(0, plain.read_bytes())
    full = group.backup()
    restic(group.repository, "check", "--read-data")
    restic(group.repository, "restore", full["backup"], "--target", work / "by restic")
    found = work / "by restic/vg0/root"
    need(file_sum(found / "image.raw") == file_sum(plain), "restic restores another image")
    need((found / "files/long").read_bytes() == content, "restic restores another file")
    quick = group.backup("--quick")
    used = quick["volumes"][0].get("base_used")
    need(used and used["source"] == "quick" and used["reused_bytes"] >= written - 8 * MIB, f"the file was not trusted: {used}")
    # Zeros that are no longer: their run is divided, the rest is what it was.
    group.write(size - 30 * MIB, b"one byte more")
    changed = group.backup("--all-blocks")  # what is free is zeros otherwise
    need(changed["new_bytes"] < 3 * MIB, f"{changed['new_bytes']} bytes are new")
    group.restore(changed, work / "restored")
    write_at(plain, size - 30 * MIB, b"one byte more")
    need(file_sum(work / "restored") == file_sum(plain), "the volume came back as something else")


def main():
    # Memory grows with the processors, each of which has packs of its own.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    for scenario in (tebibyte, filesystem):
        with folder() as work:
            scenario(work)


main()
