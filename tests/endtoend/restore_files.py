"""Files come back as they were: content, holes, owners, modes, times, attributes, links, devices; as with restic."""
import stat
import struct

from common import *

ROOT = os.geteuid() == 0
ACL_ACCESS, ACL_DEFAULT, CAPABILITY = "system.posix_acl_access", "system.posix_acl_default", "security.capability"


def acl(*entries):
    """The kernel's bytes of an ACL: (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def named_acl(uid):
    nobody = 0xFFFFFFFF
    return acl((0x01, 6, nobody), (0x02, 5, uid), (0x04, 4, nobody), (0x10, 5, nobody), (0x20, 0, nobody))


def write(path, data=b"", mode=0o640):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def make_sparse(path, size, pieces):
    with open(path, "wb") as f:
        f.truncate(size)
        for at, data in pieces:
            f.seek(at)
            f.write(data)


def make_source(top):
    """A folder with every kind of file and metadata."""
    top.mkdir()
    base = os.fsencode(top)
    write(top / "plain", b"hello\n")
    write(top / "empty")
    write(top / "big", random_bytes(9 * MIB + 17))
    write(top / "twice", random_bytes(3 * MIB) * 2)
    make_sparse(top / "holes", 64 * MIB + 5, [(0, b"start"), (20 * MIB + 4096, random_bytes(70000)), (64 * MIB, b"end!!")])
    make_sparse(top / "only holes", 8 * MIB + 1, [])
    make_sparse(top / "small holes", 256 << 10, [(64 << 10, b"x" * 4096), (200 << 10, b"y" * 100)])
    write(base + b"/not utf-8 \xff\xfe", b"raw name")
    write(base + b"/line\nbreak\\x and \"quotes\"", b"odd name")
    write(base + b"/" + b"n" * 255, b"long name")
    deep = top / "deep"
    for level in range(60):
        deep = deep / f"level {level}"
    deep.mkdir(parents=True)
    write(deep / "bottom", b"down here")
    write(top / "setuid", b"#!/bin/true\n", 0o4755)
    write(top / "setgid", b"#!/bin/true\n", 0o2755)
    write(top / "closed", b"nobody may", 0)
    for name, mode in (("sticky", 0o1777), ("inherits group", 0o2775), ("read only", 0o555), ("shut", 0)):
        (top / name).mkdir()
        write(top / name / "inside", name.encode())
        os.chmod(top / name, mode)
    (top / "nothing in it").mkdir()
    os.symlink("plain", top / "link")
    os.symlink("/nowhere/at all", top / "dangling")
    os.symlink("x" * 4000, top / "long link")
    os.symlink("..", top / "up")
    os.mkfifo(top / "pipe", 0o620)
    (top / "other folder").mkdir()
    write(top / "linked", random_bytes(MIB))
    os.link(top / "linked", top / "linked again")
    os.link(top / "linked", top / "other folder/linked from afar")
    os.link(top / "link", top / "other folder/hard link of a symbolic one", follow_symlinks=False)
    write(top / "attributes", b"with attributes")
    os.setxattr(top / "attributes", "user.short", b"value")
    os.setxattr(top / "attributes", "user.bytes", bytes(range(256)))
    os.setxattr(top / "attributes", "user.empty", b"")
    os.setxattr(top / "other folder", "user.on a folder", b"yes")
    write(top / "acl", b"with an ACL")
    os.setxattr(top / "acl", ACL_ACCESS, named_acl(4711))
    (top / "acl folder").mkdir()
    os.setxattr(top / "acl folder", ACL_ACCESS, named_acl(4712))
    write(top / "acl folder/inherits nothing", b"made before the default")
    os.setxattr(top / "acl folder", ACL_DEFAULT, named_acl(4713))
    write(top / "acl folder/inherits", b"made after")
    if ROOT:
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
        for name, uid, gid in (("plain", 1234, 5678), ("setuid", 4000000000, 7), ("setgid", 9, 4000000001), ("link", 77, 78),
                               ("pipe", 79, 80), ("null", 81, 82), ("sticky", 83, 84)):
            os.lchown(top / name, uid, gid)
        os.chmod(top / "setuid", 0o4755)
        os.chmod(top / "setgid", 0o2755)
        write(top / "ping", b"\x7fELF", 0o755)
        os.lchown(top / "ping", 12, 13)
        os.setxattr(top / "ping", CAPABILITY, struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
        os.setxattr(top / "plain", "trusted.secret", b"of root")
    times = 0
    for path in sorted(top.rglob("*"), key=lambda p: -len(os.fsencode(p))) + [top]:
        times += 1
        os.utime(path, ns=(1_000_000_000_123_456_789 + times * 1_000_000_007, 1_600_000_000_000_000_001 + times * 1_000_000_011),
                 follow_symlinks=False)
    os.utime(top / "empty", ns=(-5_000_000_001, -86_400_000_000_001))


def digest(path, st):
    # Read as root, or made readable for the moment.
    if not stat.S_ISREG(st.st_mode):
        return None
    if not ROOT and not st.st_mode & 0o400:
        os.chmod(path, 0o600)
        try:
            return file_sum(path)
        finally:
            os.chmod(path, stat.S_IMODE(st.st_mode))
    return file_sum(path)


def everything(top):
    """What there is to know of every file below a folder, by its name."""
    top = os.fsencode(top)
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
                          if n != "security.selinux"}
            fact = {
                "mode": oct(st.st_mode), "uid": st.st_uid, "gid": st.st_gid, "mtime": st.st_mtime_ns, "attributes": attributes,
                "device": st.st_rdev, "target": os.readlink(path) if stat.S_ISLNK(st.st_mode) else None,
                "links": st.st_nlink if not stat.S_ISDIR(st.st_mode) else None,
                "size": st.st_size if stat.S_ISREG(st.st_mode) else None,
            }
            if not stat.S_ISDIR(st.st_mode):
                fact["atime"] = st.st_atime_ns
            fact["content"] = digest(path, st)
            found[os.path.relpath(path, top)] = fact
    return found


def links_by_group(top):
    groups = {}
    for folder, _, files in os.walk(os.fsencode(top)):
        for name in files:
            path = os.path.join(folder, name)
            groups.setdefault(os.lstat(path).st_ino, set()).add(os.path.relpath(path, os.fsencode(top)))
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def compare(expected, found, what, leave_out=()):
    need(expected.keys() == found.keys(), f"{what}: missing {sorted(expected.keys() - found.keys())}, extra {sorted(found.keys() - expected.keys())}")
    for name, fact in expected.items():
        for key, value in fact.items():
            if key not in leave_out:
                need(found[name].get(key) == value, f"{what}: {name!r}: {key} is {found[name].get(key)!r}, was {value!r}")


def respaldo_restore(repository, target, *words, expect=0):
    result = run([RESPALDO, "--json", "-r", repository, "restore", "latest", "--files", *words, "--to", target], expect=expect)
    return json.loads(result.stdout)


def blocks_used(path):
    return os.lstat(path).st_blocks * 512


def main():
    os.umask(0o027)
    with folder() as work:
        source = work / "source"
        make_source(source)
        repository = work / "repository"
        restic(repository, "init")
        original = everything(source)
        # Reading changes access times; they are compared with what restic stored and gave back.
        restic(repository, "backup", source)
        inside = str(source).lstrip("/")
        target, other = work / "out", work / "restic"
        result = respaldo_restore(repository, target)
        need(result["problem_count"] == 0, f"{result}")
        restic(repository, "restore", "latest", "--target", other)
        found = everything(target / inside)
        compare(original, found, "restored", leave_out=("atime",))
        need(links_by_group(source) == links_by_group(target / inside), "hard links differ")
        of_restic = everything(other / inside)
        # Where restic itself brings back what was there, both agree.
        for name in of_restic:
            for key in ("mode", "uid", "gid", "mtime", "size", "content", "target", "device"):
                need(found[name][key] == of_restic[name][key] or of_restic[name][key] != original[name][key],
                     f"{name!r}: {key} differs from restic's")

        # Holes are holes.
        need(blocks_used(target / inside / "holes") <= 256 << 10, "holes take room")
        need(blocks_used(target / inside / "only holes") == 0, "nothing but holes takes room")
        need(blocks_used(target / inside / "small holes") <= 16 << 10, "small holes take room")

        # A second time, onto what is there: all ways leave the same.
        for how in ("always", "if-changed", "never"):
            again = respaldo_restore(repository, target, "--overwrite", how)
            need(again["problem_count"] == 0, f"{how}: {again}")
            need((again["kept"] > 0) == (how != "always"), f"{how}: {again}")
            compare(original, everything(target / inside), f"restored with {how}", leave_out=("atime",))
            need(links_by_group(source) == links_by_group(target / inside), f"{how}: hard links differ")

        # Changed, removed, turned into something else.
        here = target / inside
        write(here / "plain", b"changed")
        (here / "big").unlink()
        (here / "link").unlink()
        (here / "link").mkdir()
        shutil.rmtree(here / "sticky")
        os.symlink(work, here / "sticky")
        (here / "pipe").unlink()
        write(here / "pipe", b"a file")
        os.setxattr(here / "attributes", "user.more", b"not in the backup")
        (here / "new").mkdir()
        never = respaldo_restore(repository, target, "--overwrite", "never", expect=1)
        need([p["path"] for p in never["problems"]] == [f"{inside}/sticky"], f"{never}")
        need((here / "plain").read_bytes() == b"changed" and (here / "sticky").is_symlink(), "never has overwritten")
        respaldo_restore(repository, target)
        (here / "new").rmdir()
        os.utime(here, ns=(0, 0))
        compare(original, everything(here), "restored over changes", leave_out=("atime",))
        need(not (work / "inside").exists(), "a symbolic link was followed")

        # One file, and one folder, with the folders above them.
        some = work / "some"
        result = respaldo_restore(repository, some, f"{inside}/plain", f"/{inside}/sticky/")
        need(sorted(os.listdir(some / inside)) == ["plain", "sticky"], f"{os.listdir(some / inside)}")
        need((some / inside / "sticky/inside").read_bytes() == b"sticky", "a folder is not whole")
        run([RESPALDO, "-r", repository, "restore", "latest", "--files", "no/such", "--to", work / "none"], expect=1)
        run([RESPALDO, "-r", repository, "restore", "latest", "--files", "../etc", "--to", work / "none"], expect=2)
        run([RESPALDO, "-r", repository, "restore", "latest", inside, "--to", "a/b"], expect=2)
        need(not (work / "none").exists(), "a refused restore made its target")

        # A pack is lost: its files are told and missing, the rest is there.
        packs = [p for p in (repository / "data").rglob("*") if p.is_file()]
        biggest = max(packs, key=lambda p: p.stat().st_size)
        biggest.chmod(0o600)
        data = bytearray(biggest.read_bytes())
        for at in range(0, len(data) - 4096, 1 << 20):
            data[at + 100] ^= 1
        biggest.write_bytes(data)
        partly = work / "partly"
        result = respaldo_restore(repository, partly, expect=1)
        need(result["problem_count"] > 0 and result["files"] > 10, f"{result}")
        found = everything(partly / inside)
        lost = original.keys() - found.keys()
        need(lost and len(lost) <= result["problem_count"], f"{lost}: {result['problems']}")
        for name in found:
            need(found[name]["content"] == original[name]["content"], f"{name!r} is there with other content")

        if ROOT:
            as_ordinary_user(work, source, original)
        out_of_a_volume(work, source)
        print("restore_files: everything came back")


def as_ordinary_user(work, source, original):
    """Nobody restores what root saved: content and times, but not owners and devices."""
    repository = work / "repository of nobody"
    restic(repository, "init")
    restic(repository, "backup", source)
    run(["chown", "-R", "65534:65534", repository])
    home = work / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    work.chmod(0o711)

    def demote():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    program = shutil.copy(RESPALDO, home / "respaldo")
    os.chmod(program, 0o755)
    result = run([program, "--json", "-r", repository, "restore", "latest", "--files", "--to", home / "out"], preexec_fn=demote)
    told = json.loads(result.stdout)
    need(told["problem_count"] == 0 and told["without_owner"] > 10 and told["without_device"] == 2 and told["without_xattrs"] == 2,
         f"{told}")
    need("not allowed here" in result.stderr, result.stderr)
    found = everything(home / "out" / str(source).lstrip("/"))
    expected = {name: fact for name, fact in original.items() if name not in (b"null", b"disk")}
    compare(expected, found, "restored by nobody", leave_out=("atime", "uid", "gid", "mode", "attributes", "device"))
    need(found[b"setuid"]["mode"] == "0o100755" and found[b"setgid"]["mode"] == "0o100755", "setuid without its owner")
    # A second time, over folders that may not be written.
    run([program, "-q", "-r", repository, "restore", "latest", "--files", "--to", home / "out"], preexec_fn=demote)


def out_of_a_volume(work, source):
    """The files of an ext4 filesystem in a volume: as mke2fs put them there, which drops a few things."""
    (source / "long link").unlink()
    (source / "other folder/hard link of a symbolic one").unlink()
    os.link(source / "pipe", source / "other folder/pipe again")
    expected = everything(source)
    filesystem, size = work / "filesystem", 160 * MIB
    make_sparse(filesystem, size, [])
    run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", source, filesystem])
    images = Images(work, "disk", size=size + 64 * MIB)
    images.lvm("vgcreate", "vg0", images.paths[0])
    images.lvm("lvcreate", "-L", f"{size >> 20}M", "-n", "root", "vg0")
    with images.activated() as point:
        write_at(point / "vg0/root", 0, filesystem.read_bytes())
    repository, target = work / "repository of a volume", work / "out of a volume"
    run([RESPALDO, "-r", repository, "init"])
    images("-q", "-r", repository, "backup", "vg0/root")
    run([RESPALDO, "-q", "-r", repository, "restore", "latest:vg0/root", "--files", "--to", target])
    (target / "lost+found").rmdir()
    found = everything(target)
    for fact in [*expected.values(), *found.values()]:
        fact["mtime"] //= 10**9
    compare(expected, found, "out of a volume", leave_out=("atime",))
    need(links_by_group(source) == links_by_group(target), "out of a volume: hard links differ")


if __name__ == "__main__":
    main()
