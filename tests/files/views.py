#!/usr/bin/env python3
"""One pass gives image and files: five filesystems written by a real kernel, backed up together, and everything that
comes back (restore --files, restic restore, export --tar, restic dump) compared with what the kernel showed of them.

FILES=50000 takes that many of the system's own files into each (2000 by default); with PATIENCE=1500,
for mke2fs takes minutes to copy them into blocks of 1 KiB.
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
sys.path.insert(0, str(HERE.parent / "endtoend"))
from common import MIB, RESPALDO, Images, fail, file_sum, need, restic, run  # noqa: E402

KINDS = {
    "ext4": ["-t", "ext4", "-O", "ea_inode"],
    "ext3": ["-t", "ext3", "-I", "128"],
    "small": ["-t", "ext4", "-b", "1024", "-I", "256"],
    "bigalloc": ["-t", "ext4", "-O", "bigalloc,^metadata_csum", "-C", "16384"],
    "inline": ["-t", "ext4", "-O", "inline_data,^has_journal", "-I", "512"],
}
NAMES = list(KINDS)
FILES = int(os.environ.get("FILES", 2000))
LARGE = FILES > 10000
BYTES = (2400 if LARGE else 400) * MIB


def guest(script, out, disks, limit=1800):
    command = [HERE.parent / "harness/run_guest", HERE / script, "--out", out, "--limit", limit, "--memory", 768 if LARGE else 320,
               "--env", f"FILES={HERE}", "--env", "NAMES=" + " ".join(NAMES)]
    for disk in disks:
        command += ["--disk", disk]
    result = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit + 60)
    if result.returncode != 0:
        fail(result.stdout.decode(errors="replace")[-5000:])


def copy_system_files(target):
    """Real files, hard links and symbolic links among them."""
    target.mkdir(parents=True)
    found = subprocess.Popen(["find", "/usr/share", "/usr/include", "/usr/lib", "/usr/bin", "-xdev", "-size", "-4000k",
                              "-printf", r"%s %p\0"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    listed, total, rest = [], 0, b""
    while len(listed) < FILES and (block := found.stdout.read(65536)):
        entries = (rest + block).split(b"\0")
        rest = entries.pop()
        for size, name in (entry.split(b" ", 1) for entry in entries):
            if len(listed) < FILES and total + int(size) < BYTES:  # However large the files of this machine are, they fit.
                listed.append(name + b"\0")
                total += int(size)
    found.kill()
    found.wait()
    listing = target.parent / "listing"
    listing.write_bytes(b"".join(listed))
    subprocess.run(f"tar -C / --null --no-recursion -T {shlex.quote(str(listing))} -cf - 2>/dev/null"
                   f" | tar -C {shlex.quote(str(target))} -xpf -", shell=True, check=True)


def make_filesystem(kind, files, size, disk, at):
    """Filled with files by mke2fs, and written to the disk from byte `at` on."""
    raw = files.parent / "raw"
    with open(raw, "wb") as f:
        f.truncate(size)
    run(["mke2fs", "-q", "-F", "-d", files, *kind, raw])
    run(["dd", f"if={raw}", f"of={disk}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse", "status=none"])
    raw.unlink()


def manifest(folder, out):
    with open(out, "w") as f:
        subprocess.run([sys.executable, HERE / "manifest.py", folder], stdout=f, check=True)


def same(kernel, other, what, *without):
    result = run([sys.executable, HERE / "manifest.py", "--compare", kernel, other, *without], expect=None)
    need(result.returncode == 0, f"{what}:\n{result.stdout}{result.stderr}")
    print(f"{what}: {result.stdout.strip()}", flush=True)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="views-", dir=os.environ.get("TMPDIR", "/tmp")))
    os.chdir(folder)
    out = folder / "out"
    copy_system_files(out / "system")
    size = 3000 * MIB if LARGE else 700 * MIB
    images = Images(folder, "disk.img", size=len(NAMES) * size + 64 * MIB)
    images.lvm("vgcreate", "-qq", "vg0", images.paths[0])
    for name in NAMES:
        images.lvm("lvcreate", "-qq", "-L", f"{size}b", "-n", name, "vg0")
    for number, kind in enumerate(KINDS.values()):  # one after the other from the first extent on
        make_filesystem(kind, out / "system", size, images.paths[0], MIB + number * size)
    guest("guest_make.sh", out, images.paths, 3000 if LARGE else 400)

    run([RESPALDO, "-r", "repo", "init"])
    volumes = [f"vg0/{name}" for name in NAMES]
    told = images("-r", "repo", "backup", *volumes)
    need("damag" not in told.stderr and not told.stderr.strip(), f"the backup complains: {told.stderr}")
    again = images("-r", "repo", "--json", "backup", *volumes)
    second = json.loads(again.stdout)
    need(second["new_bytes"] == 0, f"a second backup of the same added {second['new_bytes']} bytes")
    restic("repo", "check", "--read-data")

    for name in NAMES:
        kernel = out / f"{name}.kernel"
        restored = folder / f"restored-{name}"
        run([RESPALDO, "-r", "repo", "restore", f"latest:vg0/{name}", "--files", "--to", restored])
        manifest(restored, f"{name}.restored")
        same(kernel, f"{name}.restored", f"{name}: restore --files")
        shutil.rmtree(restored)
        # restic 0.14 writes holes out, makes no sockets and no hard links of symbolic links, and knows no link targets
        # but UTF-8: what it can restore is compared.
        restic("repo", "restore", "latest", "--include", f"/vg0/{name}/files",
               "--target", folder / "by-restic")
        manifest(folder / f"by-restic/vg0/{name}/files", f"{name}.restic")
        odd = ("socket", "link-long", "link-short", "sub/link-short-too")
        without(kernel, f"{name}.expected", *odd)
        without(f"{name}.restic", f"{name}.seen", *odd)
        same(f"{name}.expected", f"{name}.seen", f"{name}: restic restore", "allocated", "atime")
        shutil.rmtree(folder / "by-restic")
        tar = folder / "files.tar.zst"
        run([RESPALDO, "-r", "repo", "export", f"latest:vg0/{name}", "--tar", tar])
        (folder / "by-tar").mkdir()
        run(["tar", "-C", folder / "by-tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xpf", tar])
        manifest(folder / "by-tar", f"{name}.tar")
        without(kernel, f"{name}.expected", "socket")
        same(f"{name}.expected", f"{name}.tar", f"{name}: export --tar", "atime")
        shutil.rmtree(folder / "by-tar")
        tar.unlink()
        with open("image", "wb") as f:
            subprocess.run(["restic", "--no-cache", "-q", "-r", "repo", "dump", "latest", f"/vg0/{name}/image.raw"], stdout=f, check=True,
                           env=dict(os.environ, RESTIC_PASSWORD="endtoend"))
        run(["e2fsck", "-fn", "image"])
        need(used_blocks_differ(images, f"vg0/{name}", "image") == 0, f"{name}: blocks that are in use differ")
        os.unlink("image")

    images("-r", "repo", "backup", "--all-blocks", "vg0/ext4")
    run([RESPALDO, "-r", "repo", "restore", "latest:vg0/ext4", "--to-file", "whole"])
    images("dump", "vg0/ext4", "-y", "-o", "volume")
    need(file_sum("whole") == file_sum("volume"), "--all-blocks: the image is not the volume")
    os.chdir("/")
    shutil.rmtree(folder)


def without(manifest_file, out, *paths):
    with open(manifest_file) as f, open(out, "w") as g:
        g.writelines(line for line in f if json.loads(line)["path"] not in paths)


def used_blocks_differ(images, volume, image):
    """Compares all blocks that dumpe2fs does not call free; the count of those that differ."""
    images("dump", volume, "-y", "-o", "volume")
    text = run(["dumpe2fs", "volume"]).stdout
    block = next(int(line.split()[-1]) for line in text.splitlines() if line.startswith("Block size:"))
    cluster = next((int(line.split()[-1]) for line in text.splitlines() if line.startswith("Cluster size:")), block)
    free = set()
    for line in text.splitlines():
        if line.startswith("  Free blocks: "):
            for part in line[len("  Free blocks: "):].replace(",", " ").split():
                first, _, last = part.partition("-")
                free.update(range(int(first), int(last or first) + cluster // block))  # told by first blocks of clusters
    differ = number = 0
    with open("volume", "rb") as a, open(image, "rb") as b:
        while True:
            x, y = a.read(block), b.read(block)
            if not x and not y:
                break
            if x != y:
                if number not in free:
                    differ += 1
                elif any(y):
                    fail(f"block {number} is free and neither zero nor the volume's")
            number += 1
    os.unlink("volume")
    need(number > 0, "no blocks")
    return differ


main()
