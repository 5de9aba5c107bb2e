#!/usr/bin/env python3
"""A kernel that dies while it writes: the file view is what the next kernel shows after its own recovery, and the image
view stays what is on the disk.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "endtoend"))
from common import MIB, RANDOM, RESPALDO, Images, fail, file_sum, need, run  # noqa: E402

NAMES = {"ordered": ["-b", "4096"], "journalled": ["-b", "4096", "-O", "^metadata_csum,^64bit"], "small": ["-b", "1024"]}


def guest(script, out, disk, *words):
    command = [HERE.parent / "harness/run_guest", HERE / script, "--out", out, "--disk", disk, "--env", f"FILES={HERE}", *words]
    result = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    if result.returncode != 0:
        fail(result.stdout.decode(errors="replace")[-5000:])


def forgive_truncation(kernel, ours, cut):
    """A file that was being cut short when the power went is cut by the kernel when it recovers, and gets that moment for its
    time. The file view has the time that the disk tells."""
    lines = [json.loads(line) for line in open(ours)]
    times = {entry["path"]: entry.get("mtime") for entry in lines}
    shown, forgiven = [json.loads(line) for line in open(kernel)], set()
    for entry in shown:
        if entry.get("mtime", 0) > cut and entry["path"] in times:
            entry["mtime"] = times[entry["path"]]
            forgiven.add(entry["mtime"])
    with open(kernel, "w") as f:
        f.writelines(json.dumps(entry) + "\n" for entry in shown)
    need(len(forgiven) <= 2, f"{kernel}: {len(forgiven)} files are younger than the power cut")


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dirty-", dir=os.environ.get("TMPDIR", "/tmp")))
    os.chdir(folder)
    images = Images(folder, "disk.img", size=256 * MIB)
    images.lvm("vgcreate", "-qq", "vg0", images.paths[0])
    for name, options in NAMES.items():
        images.lvm("lvcreate", "-qq", "-L", "64M", "-n", name, "vg0")
        run(["mkfs.ext4", "-q", "-J", "size=8", *options, f"{name}.fs", "64M"])
        with images.activated() as volumes:
            shutil.copyfile(f"{name}.fs", volumes / "vg0" / name)
    guest("guest_cut.sh", folder / "out", images.paths[0], "--cut-when", "cut", "--env", f"CUT_AFTER={RANDOM.randrange(10)}")

    cut = time.time_ns()

    run([RESPALDO, "-r", "repo", "init"])
    before = {name: images.sum_of(f"vg0/{name}") for name in NAMES}
    told = images("-r", "repo", "backup", "--all-blocks", *[f"vg0/{name}" for name in NAMES], expect=None)
    need(told.returncode == 0, f"the backup: {told.returncode}\n{told.stdout}{told.stderr}")
    for name in NAMES:
        need(f"vg0/{name}/files: as after recovery" in told.stdout, f"{name} had nothing to recover:\n{told.stdout}")
        run([RESPALDO, "-r", "repo", "restore", f"latest:vg0/{name}", "--to-file", "image"])
        need(file_sum("image") == before[name] == images.sum_of(f"vg0/{name}"), f"{name}: the image is not the disk")
        os.unlink("image")
        run([RESPALDO, "-r", "repo", "restore", f"latest:vg0/{name}", "--files", "--to", f"files-{name}"])
        with open(f"{name}.respaldo", "w") as f:
            subprocess.run([sys.executable, HERE / "manifest.py", f"files-{name}"], stdout=f, check=True)
    guest("guest_show.sh", folder / "shown", images.paths[0])
    for name in NAMES:
        forgive_truncation(f"shown/{name}.kernel", f"{name}.respaldo", cut)
        result = run([sys.executable, HERE / "manifest.py", "--compare", f"shown/{name}.kernel", f"{name}.respaldo", "allocated"],
                     expect=None)
        need(result.returncode == 0, f"{name}:\n{result.stdout}")
        print(f"{name}: {result.stdout.strip()}")
    os.chdir("/")
    shutil.rmtree(folder)


main()
