#!/usr/bin/env python3
"""Everything that can be seen of a tree of files, a line each: manifest.py FOLDER >LINES; manifest.py --compare A B.

Times are read before contents, so that reading does not change what is told. Hard links are told by the first path of
their group. Names are bytes; what is not UTF-8 is escaped.
"""
import hashlib
import json
import os
import stat
import sys

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFBLK: "block", stat.S_IFCHR: "char",
         stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def entry(path, name, first_names):
    st = os.lstat(path)
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    told = {"path": name.decode("utf-8", "backslashreplace"), "kind": kind, "mode": oct(st.st_mode & 0o7777), "uid": st.st_uid,
            "gid": st.st_gid, "mtime": st.st_mtime_ns}
    if kind != "link":  # readlink(2) changes it
        told["atime"] = st.st_atime_ns
    told["xattrs"] = {x: os.getxattr(path, x, follow_symlinks=False).hex()
                      for x in sorted(os.listxattr(path, follow_symlinks=False))}
    if kind == "link":
        told["target"] = os.readlink(path).hex()
    elif kind in ("block", "char"):
        told["device"] = st.st_rdev
    elif kind == "file":
        told["size"] = st.st_size
        told["sum"] = digest(path)
        told["allocated"] = st.st_blocks * 512
    if kind != "dir" and st.st_nlink > 1:
        told["links"] = st.st_nlink
        told["group"] = first_names.setdefault(st.st_ino, told["path"])
        if told["group"] != told["path"]:
            told.pop("atime", None)  # it was read through its first name
    return told


def walk(root):
    first_names, pending = {}, [b""]
    while pending:
        folder = pending.pop()
        here = os.path.join(root, folder) if folder else root
        told = entry(here, folder, first_names)
        yield told
        names = sorted(os.listdir(here), reverse=True)
        subfolders = []
        for name in names:
            path = os.path.join(folder, name) if folder else name
            if stat.S_ISDIR(os.lstat(os.path.join(root, path)).st_mode):
                subfolders.append(path)
            else:
                yield entry(os.path.join(root, path), path, first_names)
        pending += subfolders


def load(path, without):
    lines = {}
    with open(path) as f:
        for line in f:
            one = json.loads(line)
            for field in without:
                one.pop(field, None)
            lines[one["path"]] = one
    return lines


def compare(old, new, without):
    """Differences, at most twenty. Holes must stay: a file may have less on the disk, not much more."""
    a, b = load(old, without), load(new, without)
    bad = [f"only in {old}: {p}" for p in sorted(a.keys() - b.keys())]
    bad += [f"only in {new}: {p}" for p in sorted(b.keys() - a.keys())]
    for path in sorted(a.keys() & b.keys()):
        x, y = a[path], b[path]
        was, now = x.pop("allocated", 0), y.pop("allocated", 0)
        if now > was + 65536 + was // 8:
            bad.append(f"{path}: {now} bytes on the disk, were {was}")
        bad += [f"{path}: {k} was {x.get(k)}, is {y.get(k)}" for k in sorted(x.keys() | y.keys()) if x.get(k) != y.get(k)]
    for line in bad[:20]:
        print(line)
    print(f"{len(a)} files, {len(bad)} differences")
    return 1 if bad or not a else 0


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        sys.exit(compare(sys.argv[2], sys.argv[3], sys.argv[4:]))
    for line in walk(os.fsencode(sys.argv[1])):
        print(json.dumps(line))
