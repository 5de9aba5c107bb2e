"""Ctrl-C, SIGTERM and a full disk: nothing half-done stays."""
import resource

from common import *


def main():
    with folder() as work:
        images = Images(work, "a.img", size=400 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "250M", "-n", "data", "vg0")
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        with images.activated() as point:
            write_at(point / "vg0/data", 0, random_bytes(240 * MIB))
            backup = images.command("-r", repository, "backup", "vg0/data")
            for how in (signal.SIGINT, signal.SIGTERM):
                hit = False
                for delay in (0.7, 0.9, 1.1, 0.5):
                    code, killed, error = kill_after(backup, delay, how)
                    if killed and code == 130:
                        hit = True
                        break
                    need(code == 0, f"{code}: {error}")
                    write_at(point / "vg0/data", 0, random_bytes(240 * MIB))
                need(hit, "no signal hit the backup")
                need("interrupted" in error, f"it does not say what happened: {error}")
                left = images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
                need("respaldo" not in left, f"a snapshot was left behind: {left}")
                need(not list((repository / "locks").iterdir()), "a lock was left behind")
        for b in backups(repository):
            run([RESPALDO, "-q", "-r", repository, "export", b["id"], "--raw", work / "whole"])
            (work / "whole").unlink()
        images("-q", "-r", repository, "backup", "vg0/data")
        target = work / "out"
        target.mkdir()
        code, killed, error = kill_after([RESPALDO, "-r", repository, "restore", "latest", "--to-file", target / "data"], 0.6, signal.SIGINT)
        if killed and code == 130:
            need(not list(target.iterdir()), "an interrupted restore left a file")
        restic(repository, "check", "--read-data")

        # No file of the repository may grow beyond 3 MiB: as on a full disk, packs cannot be written.
        small = work / "small"
        run([RESPALDO, "-r", small, "init"])
        limit = 3 * MIB
        result = run(images.command("-r", small, "backup", "vg0/data"), expect=None,
                     preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
        need(result.returncode == 1, f"{result.returncode}: {result.stderr}")
        need(str(small) in result.stderr, f"the error does not name the file: {result.stderr}")
        need(not backups(small), "a backup that failed is listed")
        need(not [p for p in small.rglob("*-tmp-*")], "temporary files were left behind")
        restic(small, "check", "--read-data")
        print("stops: nothing half-done stays")


main()
