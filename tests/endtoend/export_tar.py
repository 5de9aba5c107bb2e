"""export --tar: GNU tar unpacks what was saved, with all metadata; in bounded memory; and never half an archive."""
from common import *
from restore_files import (ACL_ACCESS, ACL_DEFAULT, ROOT, blocks_used, compare, everything, links_by_group, make_source, make_sparse,
                           named_acl, write)


def export(repository, *words, **kwargs):
    return run([RESPALDO, "--json", "-r", repository, "export", *words], **kwargs)


def unpack(archive, target):
    target.mkdir()
    return run(["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-C", target, "-xpf", archive])


def add_odd_things(top):
    """What tar archives in particular get wrong."""
    base = os.fsencode(top)
    times = [(name, os.lstat(os.path.join(base, name)).st_mtime_ns) for name in [b"."]]
    # One character, written in two ways: no archiver may choose.
    write(base + "/caf\u00e9".encode(), b"composed")
    write(base + "/cafe\u0301".encode(), b"decomposed")
    long_folder = base + b"/" + b"/".join(b"%03d-" % i + b"f" * 90 for i in range(4))
    os.makedirs(long_folder)
    write(long_folder + b"/" + "ü".encode() * 100, b"more than ustar takes")
    os.symlink("caf\u00e9", base + b"/link to that")
    make_sparse(top / "data then hole", 6 * MIB, [(0, random_bytes(MIB))])
    make_sparse(top / "hole then data", 6 * MIB, [(5 * MIB, random_bytes(MIB))])
    make_sparse(base + b"/sparse \xfe raw", 8 * MIB, [(4 * MIB, random_bytes(3000))])
    make_sparse(top / "linked holes", 3 * MIB, [(MIB, b"x")])
    os.link(top / "linked holes", base + b"/linked holes \xfd again")
    os.setxattr(top / "linked holes", "user.of both", b"names")
    os.setxattr(top / "linked holes", "user.percent%equals=", b"odd name")
    if ROOT:
        os.lchown(top / "data then hole", 3000000, 4294967294)
        write(top / "acl of large ids")
        os.setxattr(top / "acl of large ids", ACL_ACCESS, named_acl(2147483648))
        (top / "default acl of large ids").mkdir()
        os.setxattr(top / "default acl of large ids", ACL_DEFAULT, named_acl(4294967294))
    for path in sorted(top.rglob("*"), key=lambda p: -len(os.fsencode(p))):
        if "hole" in path.name or "fff" in path.name or "caf" in path.name:
            os.utime(path, ns=(1, 1_234_567_890_987_654_321), follow_symlinks=False)
    for name, mtime in times:
        os.utime(os.path.join(base, name), ns=(mtime, mtime))


def everything_comes_back(work, repository, source, original):
    inside = str(source).lstrip("/")
    for suffix in (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"):
        archive, target = work / f"archive{suffix}", work / f"unpacked{suffix}"
        told = json.loads(export(repository, "latest", "--tar", archive).stdout)
        need(told["problem_count"] == 0, f"{suffix}: {told}")
        magic = {".tar": b"./", ".tar.zst": b"\x28\xb5\x2f\xfd", ".tar.xz": b"\xfd7zXZ"}.get(suffix, b"\x1f\x8b")
        with open(archive, "rb") as f:
            start = f.read(8)
        need(start.startswith(magic) or suffix == ".tar" and b"P" in start, f"{suffix} begins with {start}")
        said = unpack(archive, target).stderr
        need("Cannot" not in said and said.count("hdrcharset") <= 6, f"{suffix}: {said}")
        compare(original, everything(target / inside), suffix, leave_out=("atime",))
        need(links_by_group(source) == links_by_group(target / inside), f"{suffix}: hard links differ")
        for name, most in ((b"holes", 4 * MIB), (b"only holes", 0), (b"data then hole", 2 * MIB), (b"sparse \xfe raw", 2 * MIB)):
            need(blocks_used(os.fsencode(target / inside) + b"/" + name) <= most, f"{suffix}: {name!r} takes room")
        shutil.rmtree(target)


def one_folder(work, repository, source, original):
    inside = str(source).lstrip("/")
    archive, target = work / "one.tar", work / "one"
    export(repository, "latest", f"{inside}/acl folder", "--tar", archive)
    unpack(archive, target)
    found = everything(target / inside)
    need(found.keys() == {n for n in original if n.split(b"/")[0] == b"acl folder"}, f"{sorted(found)}")
    # Through a pipe, the same bytes; a file is not overwritten without being told to.
    piped = subprocess.run([RESPALDO, "-q", "-r", repository, "export", "latest", f"{inside}/acl folder", "--tar", "-"], env=ENV,
                           stdout=subprocess.PIPE, check=True).stdout
    need(piped == archive.read_bytes(), "a pipe gets other bytes than a file")
    export(repository, "latest", "--tar", archive, expect=1)
    need(piped == archive.read_bytes(), "the file was overwritten")
    export(repository, "latest", "no/such", "--tar", work / "none.tar", expect=1)
    export(repository, "latest", "--tar", work / "none.tar", "--raw", work / "none.img", expect=2)
    export(repository, "latest", expect=2)
    need(not list(work.glob("none*")), "a refused export left something")


def memory_is_bounded(work):
    """A file larger than what may wait in memory, and nobody in a hurry to read it."""
    source, repository = work / "large", work / "repository of a large file"
    source.mkdir()
    with open(source / "file", "wb") as f:
        for _ in range(512):
            f.write(random_bytes(MIB))
    restic(repository, "init")
    restic(repository, "backup", source)
    process = subprocess.Popen([RESPALDO, "-q", "-r", repository, "export", "latest", "--tar", "-"], env=ENV, stdout=subprocess.PIPE)
    peak, total = 0, 0
    while block := process.stdout.read(MIB):
        total += len(block)
        time.sleep(0.005)
        with contextlib.suppress(FileNotFoundError):
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]) << 10)
    need(process.wait() == 0 and total > 512 * MIB, f"{total} bytes came")
    need(0 < peak < 400 * MIB, f"{peak >> 20} MiB of memory were used")


def damage_is_told(work, repository):
    packs = [p for p in (repository / "data").rglob("*") if p.is_file()]
    for pack in sorted(packs, key=lambda p: p.stat().st_size)[-1:]:
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        for at in range(0, len(data) - 4096, 256 << 10):
            data[at + 100] ^= 1
        pack.write_bytes(data)
    archive = work / "broken.tar"
    told = json.loads(export(repository, "latest", "--tar", archive, expect=1).stdout)
    need(told["problem_count"] > 0 and all("/source/" in p["path"] and p["why"] for p in told["problems"]), f"{told}")
    need(any("are zeros in the archive" in p["why"] for p in told["problems"]), f"no byte range is told: {told}")
    listed = run(["tar", "-tf", archive]).stdout.splitlines()
    need(len(listed) == told["entries"], f"{len(listed)} entries, not {told['entries']}")
    piped = subprocess.run([RESPALDO, "--json", "-r", repository, "export", "latest", "--tar", "-"], env=ENV,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    need(piped.returncode == 1 and piped.stdout == archive.read_bytes(), "a pipe gets other bytes than a file")
    events = [json.loads(line) for line in piped.stderr.splitlines()]
    need([e["path"] for e in events if e["event"] == "problem"] == [p["path"] for p in told["problems"]], f"{events}")
    for pack in packs:
        pack.unlink()
    lost = json.loads(export(repository, "latest", "--tar", work / "lost.tar", expect=1).stderr.strip().splitlines()[-1])
    need(lost["event"] == "error" and not (work / "lost.tar").exists(), f"without a tree: {lost}")


def main():
    os.umask(0o027)
    with folder() as work:
        source, repository = work / "source", work / "repository"
        make_source(source)
        add_odd_things(source)
        restic(repository, "init")
        original = everything(source)
        restic(repository, "backup", source)
        everything_comes_back(work, repository, source, original)
        one_folder(work, repository, source, original)
        memory_is_bounded(work)
        damage_is_told(work, repository)
        print("export_tar: GNU tar brought everything back")


main()
