#!/usr/bin/env python3
"""A volume that is itself a disk, as a virtual machine's: each partition with a known filesystem has its files in the
backup, the image is of the whole.
"""
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "endtoend"))
from common import MIB, RESPALDO, Images, file_sum, folder, need, random_bytes, restic, run  # noqa: E402


def make_tree(root, seed):
    for i in range(40):
        (root / f"dir-{i % 4}").mkdir(parents=True, exist_ok=True)
        (root / f"dir-{i % 4}" / f"file-{seed}-{i}").write_bytes(random_bytes(1000 * i))
    return root


def main():
    with folder() as work:
        disk = work / "vm.raw"
        with open(disk, "wb") as f:
            f.truncate(96 * MIB)
        # The second one begins where no filesystem's block does.
        table = "label: gpt\nstart=2048, size=81920, type=L\nstart=83969, size=61440, type=L\nstart=147456, size=2048, type=S\n"
        subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True)
        trees = {1: make_tree(work / "one", 1), 2: make_tree(work / "two", 2)}
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", trees[1], "-E", f"offset={2048 * 512}", disk, "40M"])
        run(["mke2fs", "-q", "-F", "-t", "ext3", "-b", "1024", "-d", trees[2], "-E", f"offset={83969 * 512}", disk, "30M"])

        images = Images(work, "host.img", size=128 * MIB)
        images.lvm("vgcreate", "-qq", "vg0", images.paths[0])
        images.lvm("lvcreate", "-qq", "-L", "96M", "-n", "vm", "vg0")
        with images.activated() as volumes:
            run(["dd", f"if={disk}", f"of={volumes}/vg0/vm", "bs=1M", "conv=notrunc", "status=none"])

        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        told = images("-r", repository, "backup", "vg0/vm")
        need(not told.stderr.strip(), f"the backup complains: {told.stderr}")
        again = json.loads(images("-r", repository, "--json", "backup", "vg0/vm").stdout)
        need(again["new_bytes"] == 0, f"a second backup of the same added {again['new_bytes']} bytes")
        views = again["volumes"][0]["file_views"]
        need([(v["folder"], v["filesystem"]) for v in views] == [("part1/files", "ext4"), ("part2/files", "ext3")], f"views: {views}")
        restic(repository, "check", "--read-data")

        out = work / "out"
        run([RESPALDO, "-r", repository, "restore", "latest", "--files", "--to", out])
        for number, tree in trees.items():
            (out / f"part{number}/files/lost+found").rmdir()
            run(["diff", "-r", tree, out / f"part{number}/files"])
        some = work / "some"
        run([RESPALDO, "-r", repository, "restore", "latest", "part2/files/dir-3", "--files", "--to", some])
        run(["diff", "-r", trees[2] / "dir-3", some / "part2/files/dir-3"])
        need(not (some / "part1").exists(), "more than was asked for")
        run([RESPALDO, "-r", repository, "export", "latest", "--tar", work / "vm.tar.gz"])
        names = run(["tar", "-tzf", work / "vm.tar.gz"]).stdout
        need("./part2/files/dir-1/file-2-1\n" in names and "image.raw" not in names, f"the archive holds\n{names[:2000]}")

        # Fresh filesystems are zeros where they are free: the image is the disk.
        run([RESPALDO, "-r", repository, "restore", "latest", "--to-file", work / "image"])
        need(file_sum(work / "image") == file_sum(disk), "the image is not the disk")
        print("two partitions, one disk")


main()
