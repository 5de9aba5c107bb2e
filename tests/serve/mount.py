"""`mount` over real FUSE: restic's backups compared with what was backed up, respaldo's images with `dump`, and how it ends.

GIB=2.5 instead reads at random in a backup of so many of the system's own files.
"""
import concurrent.futures
import errno
import hashlib
import json
import mmap
import os
import pty
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

RESPALDO = os.environ["RESPALDO"]
MIB = 1 << 20
dice = random.Random(7)


def run(*words, fails=None, timeout=600, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, timeout=timeout, **more)
    if fails is None:
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}"
    else:
        assert done.returncode == fails, f"{words}: {done.returncode}, not {fails}\n{done.stdout}"
    return done.stdout


def restic(repository, *words, **more):
    return run("restic", "-r", repository, "--no-cache", *words, **more)


def respaldo(*words, **more):
    return run(RESPALDO, *words, **more)


def document(*words):
    """What a command prints with --json; on standard error nothing but events."""
    done = subprocess.run([RESPALDO, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, timeout=600)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stderr}"
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert all("event" in event for event in events), events
    return json.loads(done.stdout)


def until_true(what, question):
    for _ in range(600):
        if question():
            return
        time.sleep(0.05)
    raise AssertionError(f"never true: {what}")


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


class Mounted:
    """In the background, unmounted at the end, its process gone and nothing left behind."""

    def __init__(self, repository, *options):
        self.point = tempfile.mkdtemp(dir=".", prefix="mnt")
        self.pid = document("-r", repository, "mount", self.point, *options)["pid"]

    def __enter__(self):
        return self.point

    def __exit__(self, kind, *_):
        if kind is None:
            run("fusermount3", "-u", self.point)
            until_true("the process ends", lambda: gone(self.pid))
            assert os.listdir("run/respaldo") == [], os.listdir("run/respaldo")
        else:
            log = f"run/respaldo/mount-{self.pid}.log"
            print(open(log).read() if os.path.exists(log) else "no log")
            subprocess.run(["fusermount3", "-uqz", self.point])


def below(top):
    """All paths, as bytes, folders before what they hold."""
    found = []
    for folder, folders, files in os.walk(os.fsencode(top)):
        found += [os.path.join(folder, name) for name in folders + files]
    return sorted(found)


def make_source(top):
    os.makedirs(top + "/a/b/c")
    os.makedirs(top + "/empty")
    os.makedirs(top + "/many")
    write = lambda name, content: open(os.path.join(os.fsencode(top), name), "wb").write(content)
    write(b"empty-file", b"")
    write(b"a/one", b"x")
    write(b"a/text", b"some words\n" * 1000)
    write(b"a/b/random", dice.randbytes(5 * MIB + 12345))
    write(b"a/b/zeros", bytes(3 * MIB + 7))
    for n in range(300):
        write(b"many/%d" % n, dice.randbytes(dice.randrange(20000)))
    for name in (b"a/\xff\xfe not utf-8", b"a/line\nbreak", "a/ñandú 🐧".encode(), b"a/" + b"n" * 255, b"a/-rf", b"a/$(x) '\"\\"):
        write(name, name)
    with open(top + "/sparse", "wb") as file:
        file.truncate(64 * MIB)
        for at in (0, 11 * MIB + 77, 30 * MIB, 63 * MIB):
            file.seek(at)
            file.write(dice.randbytes(700_000))
    os.link(top + "/a/one", top + "/a/b/one-more")
    os.link(top + "/a/one", top + "/empty/third")
    os.symlink("text", top + "/a/link")
    os.symlink("../é/nowhere".encode(), top.encode() + b"/a/dangling")
    os.symlink("x" * 1000, top + "/a/long-link")
    os.mkfifo(top + "/fifo")
    os.chmod(top + "/a/text", 0o4755)
    os.chmod(top + "/a/b/random", 0o2400)
    os.chmod(top + "/empty", 0o1777)
    os.chmod(top + "/a/b", 0o2750)
    if os.geteuid() == 0:
        os.mknod(top + "/block", stat.S_IFBLK | 0o640, os.makedev(259, 300))
        os.mknod(top + "/character", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(top + "/a/text", 12345, 4000000000)
        os.chmod(top + "/a/text", 0o4755)
        os.lchown(top + "/a/link", 7, 8)
    for name, key, value in (("a/text", "user.words", b"some \0 bytes \xff"), ("a/text", "user.empty", b""),
                             ("a", "user.of-a-folder", b"v" * 100), ("a/b/random", "user.more", b"1")):
        os.setxattr(os.path.join(top, name), key, value)
    if os.geteuid() == 0:
        os.setxattr(top + "/a/text", "trusted.secret", b"t")
        # user::rw- user:1000:r-- group::r-- mask::r-- other::---
        acl = bytes.fromhex("02000000" "01000600ffffffff" "02000400e8030000" "04000400ffffffff" "10000400ffffffff"
                            "20000000ffffffff")
        try:
            os.setxattr(top + "/a/b/random", "system.posix_acl_access", acl)
        except OSError as error:
            assert error.errno == errno.ENOTSUP, error
    for path in reversed(below(top)):
        moment = dice.choice([0, -86400 * 365, 4102444800, 1700000000]) * 10**9 + dice.randrange(10**9)
        os.utime(path, ns=(moment + 1, moment), follow_symlinks=False)


def attributes_of(path):
    st = os.lstat(path)
    facts = {name: getattr(st, "st_" + name) for name in ("mode", "uid", "gid", "nlink", "rdev", "mtime_ns", "atime_ns", "ctime_ns")}
    if not stat.S_ISDIR(st.st_mode):
        facts["size"] = st.st_size
    if stat.S_ISLNK(st.st_mode):
        facts["target"] = os.readlink(path)
    facts["xattrs"] = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
    return facts


def compare_trees(source, before, mounted):
    paths = {path[len(os.fsencode(source)):] for path in below(source)}
    seen = {path[len(os.fsencode(mounted)):] for path in below(mounted)}
    assert paths == seen, paths ^ seen
    inodes = {}
    for path in sorted(paths):
        here, there = os.fsencode(source) + path, os.fsencode(mounted) + path
        mine, theirs = before[here], attributes_of(there)
        assert mine == theirs, f"{there}\n{mine}\n{theirs}"
        if stat.S_ISREG(mine["mode"]):
            assert open(here, "rb").read() == open(there, "rb").read(), there
        inodes.setdefault(os.lstat(there).st_ino, set()).add(os.lstat(here).st_ino)
    # One number for what is one file, another for everything else.
    assert all(len(numbers) == 1 for numbers in inodes.values())
    assert len(inodes) == len({os.lstat(os.fsencode(source) + path).st_ino for path in paths})
    return inodes


def read_everywhere(source, mounted):
    files = [path[len(source) + 1:] for path in map(os.fsdecode, below(source)) if os.path.isfile(path) and not os.path.islink(path)]
    files = [path for path in files if os.path.getsize(os.path.join(source, path)) > 0]
    for _ in range(1000):
        path = dice.choice(files if dice.random() < 0.5 else ["sparse", "a/b/random"])
        with open(os.path.join(source, path), "rb") as here, open(os.path.join(mounted, path), "rb") as there:
            at = dice.randrange(os.path.getsize(os.path.join(source, path)))
            length = dice.choice([1, 100, 4096, 200_000, 3 * MIB])
            assert os.pread(here.fileno(), length, at) == os.pread(there.fileno(), length, at), (path, at, length)
    def digest(folder, path):
        with open(os.path.join(folder, path), "rb") as file:
            return hashlib.sha256(file.read()).digest()
    right = {path: digest(source, path) for path in files}
    def reader(seed):
        order = random.Random(seed).sample(files, len(files))
        return all(digest(mounted, path) == right[path] for path in order)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(reader, range(20)))
    with open(mounted + "/a/b/random", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == open(source + "/a/b/random", "rb").read()
    # Holes: found where there are many zeros, and only there.
    with open(mounted + "/sparse", "rb") as file:
        at, holes = 0, 0
        size = os.fstat(file.fileno()).st_size
        while at < size:
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            try:
                data = os.lseek(file.fileno(), hole, os.SEEK_DATA) if hole < size else size
            except OSError as error:
                assert error.errno == errno.ENXIO
                data = size
            assert not any(os.pread(file.fileno(), data - hole, hole)), (hole, data)
            holes += data - hole
            at = data
        assert holes > 48 * MIB, holes
    assert os.lstat(mounted + "/sparse").st_blocks * 512 < 16 * MIB


def refused(number, call):
    try:
        call()
    except OSError as error:
        assert error.errno == number, error
        return
    raise AssertionError(f"{call} was not refused")


def files_of_restic():
    restic("repo", "init")
    before = {path: attributes_of(path) for path in below("source")}
    restic("repo", "backup", "source", "--with-atime", "--tag", "first", "--time", "2026-03-01 10:00:00")
    restic("repo", "backup", "source/many", "--host", "second", "--tag", "first", "--tag", "x", "--time", "2026-03-01 10:00:00")
    restic("repo", "backup", "source/many", "--host", "second", "--time", "2026-03-02 10:00:00")
    with Mounted("repo") as point:
        host = socket.gethostname()
        assert sorted(os.listdir(point)) == ["hosts", "ids", "latest", "times"]
        assert sorted(os.listdir(point + "/times")) == ["2026-03-01T10:00:00", "2026-03-01T10:00:00-1", "2026-03-02T10:00:00"]
        assert os.readlink(point + "/latest") == "times/2026-03-02T10:00:00"
        assert sorted(os.listdir(point + "/hosts")) == sorted([host, "second"])
        assert sorted(os.listdir(point + "/hosts/second")) == ["2026-03-01T10:00:00", "2026-03-02T10:00:00", "latest"]
        assert os.readlink(point + "/hosts/second/latest") == "2026-03-02T10:00:00"
        ids = {entry["short_id"]: entry for entry in json.loads(restic("repo", "snapshots", "--json"))}
        assert sorted(os.listdir(point + "/ids")) == sorted(ids)
        first = next(name for name, entry in ids.items() if entry["hostname"] == host)
        inodes = compare_trees("source", before, f"{point}/ids/{first}/source")
        assert inodes == compare_trees("source", before, f"{point}/hosts/{host}/latest/source")
        read_everywhere("source", f"{point}/ids/{first}/source")
        assert sorted(os.listdir(point + "/latest/source/many")) == sorted(os.listdir("source/many"))
        refused(errno.ENOENT, lambda: os.stat(point + "/ids/nothing"))
        refused(errno.ENOENT, lambda: os.stat(point + "/latest/source/many/none"))
        refused(errno.EROFS, lambda: open(point + "/latest/source/many/1", "r+b"))
        refused(errno.EROFS, lambda: open(point + "/latest/new", "w"))
        refused(errno.ENODATA, lambda: os.getxattr(f"{point}/ids/{first}/source/a/text", "user.none"))
        # Locked, but not against more backups.
        assert "locked" in restic("repo", "forget", "--keep-last", "1", fails=1)
        restic("repo", "backup", "source/empty", "--host", "third", "--time", "2026-03-03 10:00:00")
        until_true("the new backup appears", lambda: "third" in os.listdir(point + "/hosts"))
        assert os.listdir(point + "/hosts/third/latest/source") == ["empty"]
        assert open(point + "/hosts/third/latest/source/empty/third", "rb").read() == b"x"
        until_true("the new backup is the latest", lambda: os.readlink(point + "/latest") == "times/2026-03-03T10:00:00")
    assert restic("repo", "list", "locks").strip() == ""
    # The same numbers in another mount; selection.
    with Mounted("repo", "--host", host, "--cache-size", "1M") as point:
        assert os.listdir(point + "/hosts") == [host] and len(os.listdir(point + "/ids")) == 1
        assert inodes == compare_trees("source", before, f"{point}/latest/source")
        read_everywhere("source", f"{point}/latest/source")
    with Mounted("repo", "--tag", "first,x") as point:
        assert os.listdir(point + "/times") == ["2026-03-01T10:00:00"]
    with Mounted("repo", "--path", os.path.abspath("source/many"), "--host", "second") as point:
        assert len(os.listdir(point + "/ids")) == 2
    with Mounted("repo", "--tag", "none") as point:
        assert sorted(os.listdir(point)) == ["hosts", "ids", "times"] and os.listdir(point + "/ids") == []


def ends():
    """Signals, busy mounts, refusals. In the foreground."""
    point = tempfile.mkdtemp(dir=".", prefix="end")
    assert "not a folder" in respaldo("-r", "repo", "mount", "source/a/one", fails=2)
    assert "make the folder first" in respaldo("-r", "repo", "mount", "nothing", fails=1)
    assert "no repository" in respaldo("-r", "nothing", "mount", point, fails=10)
    assert "cache-size" in respaldo("-r", "repo", "mount", point, "--cache-size", "1k", fails=2)
    respaldo("-r", "repo", "mount", point, fails=12, env=dict(os.environ, RESPALDO_PASSWORD="wrong"))
    for number in (signal.SIGTERM, signal.SIGINT):
        with open("said", "w+") as said:
            process = subprocess.Popen([RESPALDO, "-r", "repo", "mount", point, "--foreground"], stdout=said, stderr=said)
            until_true("mounted", lambda: os.path.ismount(point))
            with open(point + "/latest/source/empty/third", "rb") as file:
                process.send_signal(number)
                until_true("it says that it is in use", lambda: "still in use" in open("said").read())
                assert os.path.ismount(point) and file.read()
            assert process.wait(60) == 0, open("said").read()
            assert not os.path.ismount(point)
            assert "the backups are at" in open("said").read()
    # Killed: the next one says what to do.
    pid = document("-r", "repo", "mount", point)["pid"]
    os.kill(pid, signal.SIGKILL)
    until_true("killed", lambda: gone(pid))
    assert "fusermount3 -u" in respaldo("-r", "repo", "mount", point, fails=11)
    run("fusermount3", "-u", point)
    respaldo("-r", "repo", "unlock")
    for name in os.listdir("run/respaldo"):
        os.unlink("run/respaldo/" + name)


def damage():
    """One damaged blob: EIO for who reads it, the file and the blob on standard error, everything else is whole."""
    os.makedirs("two")
    open("two/damaged", "wb").write(dice.randbytes(8 * MIB))
    open("two/whole", "wb").write(dice.randbytes(100_000))
    restic("hurt", "init")
    restic("hurt", "backup", "two", "--pack-size", "4")
    packs = [os.path.join(folder, name) for folder, _, names in os.walk("hurt/data") for name in names]
    for pack in packs:
        if os.path.getsize(pack) > 2 * MIB:
            with open(pack, "r+b") as file:
                os.fchmod(file.fileno(), 0o600)
                file.seek(os.path.getsize(pack) // 3)
                old = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([old[0] ^ 0xFF]))
    point = tempfile.mkdtemp(dir=".", prefix="hurt")
    with open("said", "w+") as said:
        process = subprocess.Popen([RESPALDO, "-r", "hurt", "mount", point, "--foreground"], stdout=said, stderr=said)
        until_true("mounted", lambda: os.path.ismount(point))
        right = open("two/damaged", "rb").read()
        healthy = 0
        with open(point + "/latest/two/damaged", "rb", buffering=0) as file:
            for at in range(0, len(right), 65536):
                try:
                    got = os.pread(file.fileno(), 65536, at)  # ends early where the damage begins
                    assert got and got == right[at:at + len(got)]
                    healthy += len(got) == 65536
                except OSError as error:
                    assert error.errno == errno.EIO
        assert 0 < healthy < len(right) // 65536, healthy
        assert open(point + "/latest/two/whole", "rb").read() == open("two/whole", "rb").read()
        run("fusermount3", "-u", point)
        assert process.wait(60) == 0
        lines = [line for line in open("said").read().splitlines() if "two/damaged" in line]
        assert 0 < len(lines) < 10 and all("blob" in line and "damaged" in line for line in lines), lines


def images():
    """A volume's image inside the mount is the volume."""
    with open("a.img", "wb") as file:
        file.truncate(160 * MIB)
    lvm = lambda *words: respaldo("-q", "--disk", "a.img", "lvm", *words)
    lvm("vgcreate", "-qq", "vg0", "a.img")
    lvm("lvcreate", "-n", "root", "-L", "96M", "vg0")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", "source", "root.img", "96M")
    os.makedirs("volumes", exist_ok=True)
    respaldo("--disk", "a.img", "activate", "volumes")
    run("dd", "if=root.img", "of=volumes/vg0/root", "bs=1M", "conv=notrunc")
    run("fusermount3", "-u", "volumes")
    respaldo("-r", "images", "init", "--new-password-file", "password")
    until_true("the image is free", lambda: subprocess.run([RESPALDO, "-q", "-r", "images", "--disk", "a.img", "backup", "vg0/root"],
                                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)
    respaldo("-q", "--disk", "a.img", "dump", "vg0/root", "-o", "dumped")
    with Mounted("images") as point:
        folder = point + "/latest/vg0/root"
        names = set(os.listdir(folder))
        assert {"image.raw", "volume.json"} <= names, names
        run("cmp", folder + "/image.raw", "dumped")
        run("e2fsck", "-fn", folder + "/image.raw")
        assert run("debugfs", "-R", "cat /a/text", folder + "/image.raw").endswith("some words\n")
        assert json.load(open(folder + "/volume.json"))
        # Copies may be sparse.
        run("cp", "--sparse=auto", folder + "/image.raw", "copied")
        run("cmp", "copied", "dumped")
        assert os.stat("copied").st_blocks < 96 * MIB // 512


def image_in_parts():
    """Above 64 GiB an image is stored in parts, and is one file all the same."""
    size, far = 65 << 30, (64 << 30) - 5
    with open("large.img", "wb") as file:
        file.truncate(66 << 30)
    respaldo("-q", "--disk", "large.img", "lvm", "vgcreate", "-qq", "vg0", "large.img")
    respaldo("-q", "--disk", "large.img", "lvm", "lvcreate", "-n", "root", "-L", "65G", "vg0")
    pid = document("--disk", "large.img", "activate", "volumes")["pid"]
    with open("volumes/vg0/root", "r+b") as file:
        os.pwrite(file.fileno(), b"across the border", far)
    run("fusermount3", "-u", "volumes")
    until_true("the images are free", lambda: gone(pid))
    respaldo("-q", "-r", "images", "--disk", "large.img", "backup", "vg0/root", "--tag", "large")
    with Mounted("images", "--tag", "large") as point:
        folder = point + "/latest/vg0/root"
        assert sorted(os.listdir(folder + "/image")) == ["image.00000", "image.00001"]
        assert os.stat(folder + "/image.raw").st_size == size
        assert os.stat(folder + "/image.raw").st_blocks * 512 < 64 * MIB
        with open(folder + "/image.raw", "rb") as file:
            assert os.pread(file.fileno(), 20, far) == b"across the border\0\0\0"
            data = os.lseek(file.fileno(), MIB, os.SEEK_DATA)
            assert far - 8 * MIB <= data <= far, data
            assert os.pread(file.fileno(), 100, size - 10) == bytes(10)


def typed_password():
    """What was typed reaches the process in the background, also when it was typed before the question."""
    for early in (False, True):
        type_password(early)


def type_password(early):
    point = tempfile.mkdtemp(dir=".", prefix="mnt")
    without = {name: value for name, value in os.environ.items() if "PASSWORD" not in name}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(RESPALDO, [RESPALDO, "-r", "images", "mount", point], without)
    if early:
        os.write(terminal, b"secret\n")
    said = b""
    while b"password of the repository" not in said:
        said += os.read(terminal, 1000)
    if not early:
        os.write(terminal, b"secret\n")
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    os.close(terminal)  # the terminal is gone; the mount stays
    assert os.listdir(point + "/latest") == ["vg0"]
    run("fusermount3", "-u", point)
    until_true("nothing is left", lambda: os.listdir("run/respaldo") == [])


def large(size):
    """Random reads and twenty readers at once, in the file view of a large backup; then its image."""
    listing, total = [], 0
    for folder, folders, names in os.walk("/usr"):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.isfile(path) and not os.path.islink(path) and total < size:
                listing.append(path)
                total += os.path.getsize(path)
    assert total >= size, f"this machine has only {total} bytes below /usr"
    open("listing", "wb").write(b"".join(os.fsencode(path) + b"\0" for path in listing))
    os.makedirs("system")
    subprocess.run("tar -C / --null --no-recursion -T listing -cf - 2>/dev/null | tar -C system -xpf -", shell=True, check=True)
    room = size // MIB * 5 // 4 // 4 * 4 + 200
    with open("large.img", "wb") as file:
        file.truncate((room + 8) * MIB)
    lvm = lambda *words: respaldo("-q", "--disk", "large.img", "lvm", *words)
    lvm("vgcreate", "-qq", "vg0", "large.img")
    lvm("lvcreate", "-n", "root", "-L", f"{room}M", "vg0")
    os.makedirs("volumes")
    pid = document("--disk", "large.img", "activate", "volumes")["pid"]
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", "system", "root.img", f"{room}M", timeout=600)
    run("dd", "if=root.img", "of=volumes/vg0/root", "bs=1M", "conv=notrunc,sparse", timeout=600)
    run("fusermount3", "-u", "volumes")
    until_true("the image is free", lambda: gone(pid))
    respaldo("-q", "-r", "large", "init")
    print(respaldo("-r", "large", "--disk", "large.img", "backup", "vg0/root"))
    files = [path for path in map(os.fsdecode, below("system")) if os.path.isfile(path) and not os.path.islink(path)]
    files = [path[len("system/"):] for path in files if os.path.getsize(path) > 0]
    with Mounted("large") as point:
        mounted = point + "/latest/vg0/root/files"
        for number in range(1000):
            path = dice.choice(files)
            with open(os.path.join("system", path), "rb") as here, open(os.path.join(mounted, path), "rb") as there:
                at = dice.randrange(os.fstat(here.fileno()).st_size)
                length = dice.choice([1, 100, 4096, 200_000, 3 * MIB])
                assert os.pread(here.fileno(), length, at) == os.pread(there.fileno(), length, at), (path, at, length)
        print("1000 random reads: right", flush=True)
        readers = []
        for seed in range(20):
            mine = random.Random(seed).sample(files, min(1500, len(files)))
            with open(f"reader{seed}", "wb") as out:
                out.write(b"".join(os.fsencode(path) + b"\0" for path in mine))
            script = ('while IFS= read -r -d "" f; do cmp -- "system/$f" "$1/$f" || exit 1; done <"$2"')
            readers.append(subprocess.Popen(["bash", "-c", script, "reader", mounted, f"reader{seed}"]))
        assert [reader.wait() for reader in readers] == [0] * 20
        print("20 readers at once: right", flush=True)
        run("e2fsck", "-fn", point + "/latest/vg0/root/image.raw", timeout=600)
    print(f"{len(files)} files of {total} bytes; unmounted, nothing left")


def main():
    work = tempfile.mkdtemp(prefix="mount ")
    os.chdir(work)
    os.makedirs("run", mode=0o700)
    os.environ.update(XDG_RUNTIME_DIR=work + "/run", RESPALDO_PASSWORD="secret", RESTIC_PASSWORD="secret", TZ="UTC")
    open("password", "w").write("secret")
    make_source("source")
    try:
        if "GIB" in os.environ:
            large(int(float(os.environ["GIB"]) * (1 << 30)))
            return
        for part in (files_of_restic, ends, damage, images, image_in_parts, typed_password):
            start = time.monotonic()
            part()
            print(f"{part.__name__}: {time.monotonic() - start:.1f} s", flush=True)
    finally:
        for name in os.listdir("."):
            if os.path.ismount(name) or name.startswith(("mnt", "end", "hurt", "volumes")):
                subprocess.run(["fusermount3", "-uqz", name], stderr=subprocess.DEVNULL)
        os.chdir("/")
        shutil.rmtree(work, ignore_errors=True)


sys.exit(main())
