"""What a restore that was killed made: removed only while it is that, and kept once something was restored onto it."""
from common import *


def main():
    with folder() as work:
        images = Images(work, "a.img")
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "8M", "-n", "data", "vg0")
        with images.activated() as point:
            write_at(point / "vg0/data", 0, random_bytes(8 * MIB))
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        images("-q", "-r", repository, "backup", "vg0/data")
        saved = images.sum_of("vg0/data")
        restore = images.command("-q", "-r", repository, "restore", "latest", "--to", "vg0/copy")

        def killed_restore():
            process = subprocess.run([str(a) for a in restore + ["--create"]], env=dict(ENV, RESPALDO_CRASH_AT="volume written"))
            need(process.returncode == -signal.SIGKILL, "it was not killed")

        killed_restore()
        with held(images.command("clean"), "leftovers found", work / "hold") as process:
            images.lvm("lvremove", "-f", "vg0/copy")
            images.lvm("lvcreate", "-L", "4M", "-n", "copy", "vg0")
        need(process.wait() == 0, "clean failed")
        images.lvm("lvremove", "-f", "vg0/copy")  # it is there

        killed_restore()
        with images.activated():
            run(restore + ["--yes"])
        images("-q", "-r", repository, "backup", "vg0/data")
        need("nothing was left behind" in images("clean").stdout, "a volume that was restored is taken for a leftover")
        need(images.sum_of("vg0/copy") == saved, "it was not restored")


main()
