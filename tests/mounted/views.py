#!/usr/bin/env python3
"""XFS, btrfs and FAT written by a real kernel and backed up through private mounts: what comes back (restore --files, restic
restore) is what the kernel showed, the image is the volume, and files and image share what they store.

FILES=50000 takes that many of the system's own files into each (some hundreds by default).
"""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FILES_DIR = HERE.parent / "files"
sys.path.insert(0, str(HERE.parent / "endtoend"))
from common import MIB, RESPALDO, fail, need, restic, run  # noqa: E402

FILES = int(os.environ.get("FILES", 600))


def guest(out, disk):
    command = [HERE.parent / "harness/run_guest", HERE / "views_guest.sh", "--out", out, "--limit", 3000, "--memory", 512,
               "--env", f"FILES={FILES_DIR}", "--env", f"HERE={HERE}", "--env", f"RESPALDO={RESPALDO}", "--module", "vfat", "--module", "nbd",
               "--disk", disk]
    result = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3100)
    if result.returncode != 0:
        fail(result.stdout.decode(errors="replace")[-6000:])


def copy_system_files(target):
    target.mkdir(parents=True)
    taken = total = 0
    listing = target.parent / "listing"
    with open(listing, "wb") as out:
        for folder, folders, names in os.walk("/usr/lib"):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                size = os.lstat(path).st_size
                if taken < FILES and size < 4 * MIB and total + size < 120 * MIB:
                    out.write(os.fsencode(path) + b"\0")
                    taken, total = taken + 1, total + size
    subprocess.run(f"tar -C / --null --no-recursion -T {shlex.quote(str(listing))} -cf - 2>/dev/null"
                   f" | tar -C {shlex.quote(str(target))} -xpf -", shell=True, check=True)


def manifest(folder, out):
    with open(out, "w") as f:
        subprocess.run([sys.executable, FILES_DIR / "manifest.py", folder], stdout=f, check=True)


def same(kernel, other, what, *without):
    result = run([sys.executable, FILES_DIR / "manifest.py", "--compare", kernel, other, *without], expect=None)
    need(result.returncode == 0, f"{what}:\n{result.stdout}{result.stderr}")
    print(f"{what}: {result.stdout.strip()}", flush=True)


def without(manifest_file, out, *paths):
    with open(manifest_file) as f, open(out, "w") as g:
        g.writelines(line for line in f if json.loads(line)["path"].split("/")[-1] not in paths)


def size_of(folder):
    return sum(f.stat().st_size for f in pathlib.Path(folder).rglob("*") if f.is_file())


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mounted-", dir=os.environ.get("TMPDIR", "/tmp")))
    os.chdir(folder)
    out = folder / "out"
    copy_system_files(out / "system")
    with open("disk.img", "wb") as f:
        f.truncate(2200 * MIB)
    guest(out, folder / "disk.img")
    repo = out / "repo"

    unmounted = json.loads((out / "unmounted.json").read_text())
    need("file_views" not in unmounted["volumes"][0] and "--mount" in unmounted["notes"][0], f"without --mount: {unmounted['notes']}")
    first = json.loads((out / "first.json").read_text())
    views = {v["lv"]: v["file_views"][0] for v in first["volumes"]}
    for name, view in views.items():
        need(view["how"] == "mounted" and view["finding_count"] == 0, f"{name}: {view}")
    need(not first["incomplete"], "the backup is incomplete")
    need(views["dirty"].get("journal") == "replayed", f"dirty: {views['dirty']}")
    need("notes" not in views["xfs"], f"xfs: {views['xfs']}")
    need("1 read-only snapshot" in views["btrfs"]["notes"][0], f"btrfs: {views['btrfs']}")
    free = {v["lv"]: v.get("free_bytes", 0) for v in first["volumes"]}
    need(free["xfs"] > 300 * MIB and free["dirty"] > 200 * MIB, f"free space of XFS is not known: {free}")
    second = json.loads((out / "second.json").read_text())
    need(second["new_bytes"] == 0, f"a second backup of the same added {second['new_bytes']} bytes")
    restic(repo, "check", "--read-data")

    for name in ("xfs", "btrfs", "vfat", "dirty"):
        kernel = out / f"{name}.kernel"
        restored = folder / f"restored-{name}"
        run([RESPALDO, "-r", repo, "restore", f"latest:vg0/{name}", "--files", "--to", restored])
        manifest(restored, f"{name}.restored")
        same(kernel, f"{name}.restored", f"{name}: restore --files")
        if name == "xfs":
            # Its files alone, in a repository of restic's own, against both views.
            run(["restic", "--no-cache", "-r", "alone", "init"])
            restic("alone", "backup", "--compression", "auto", restored)
            both_views(out, size_of("alone/data"))
        shutil.rmtree(restored)
        # restic 0.14 writes holes out, makes no sockets and no hard links of symbolic links, and knows no link targets but UTF-8.
        restic(repo, "restore", "latest", "--include", f"/vg0/{name}/files", "--target", folder / "by-restic")
        manifest(folder / f"by-restic/vg0/{name}/files", f"{name}.restic")
        odd = ("socket", "link-long", "link-short", "link-short-too")
        without(kernel, f"{name}.expected", *odd)
        without(f"{name}.restic", f"{name}.seen", *odd)
        same(f"{name}.expected", f"{name}.seen", f"{name}: restic restore", "allocated", "atime")
        shutil.rmtree(folder / "by-restic")
    os.chdir("/")
    shutil.rmtree(folder)


def both_views(out, files_alone):
    """What the guest stored of XFS in a repository that has nothing else."""
    sizes = json.loads((out / "xfs-alone.json").read_text())
    ratio = sizes["stored_bytes"] / files_alone
    print(f"xfs: both views {sizes['stored_bytes']} bytes, files alone by restic {files_alone}: {ratio:.3f}", flush=True)
    # Stored apart the views would take twice as much. With each repository's own cuts another tenth of so few files is found
    # to be there twice; bench/run has the exact ratio.
    need(ratio < 1.25, f"both views of XFS take {ratio:.3f} of what its files take alone")


main()
