"""Ctrl-C, SIGTERM and a full disk: nothing half-done stays."""
import resource

from common import *

TRIES = 30  # a fast machine may be done before the signal comes


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

            def nothing_left(where, code, error):
                need(code == 130, f"a signal {where} gave {code}: {error}")
                need("interrupted" in error, f"it does not say what happened: {error}")
                left = images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
                need("respaldo" not in left, f"a snapshot was left behind: {left}")
                need(not list((repository / "locks").iterdir()), "a lock was left behind")
                need(not backups(repository), "a backup that was stopped is listed")

            for how in (signal.SIGINT, signal.SIGTERM):
                for where in ("snapshots watched", "volume read"):
                    with held(backup, where, work / "hold") as process:
                        process.send_signal(how)
                    error = process.communicate(timeout=300)[1]
                    nothing_left(f"at '{where}'", process.returncode, error)
                for _ in range(TRIES):
                    # What was uploaded before need not be uploaded again: other bytes.
                    write_at(point / "vg0/data", 0, random_bytes(240 * MIB))
                    before = objects(repository, "data")
                    code, _, error = kill_after(backup, 0, how, begun=lambda: objects(repository, "data") != before)
                    if code != 0:
                        break
                    for backup_file in (repository / "snapshots").iterdir():  # it was done before the signal came
                        backup_file.unlink()
                nothing_left("amid the reading", code, error)
            # Who was killed could remove nothing: `clean` does, while the images are served.
            with held(backup, "volume read", work / "hold") as process:
                process.kill()
                process.wait()
            would = images("clean", "--dry-run").stdout
            need("would remove volume vg0/respaldo_" in would, f"the snapshot of a run that was killed is not seen: {would}")
            need("removed volume vg0/respaldo_" in images("clean").stdout, "it is not removed")
            need("nothing was left behind" in images("clean").stdout, "it is not gone")
            run([RESPALDO, "-r", repository, "unlock"])
        images("-q", "-r", repository, "backup", "vg0/data")
        target = work / "out"
        target.mkdir()
        restore = [RESPALDO, "-r", repository, "restore", "latest", "--to-file", target / "data"]
        for _ in range(TRIES):
            code, _, error = kill_after(restore, 0, signal.SIGINT, begun=lambda: any(target.iterdir()))
            if code != 0:
                break
            (target / "data").unlink()
        need(code == 130, f"a signal amid a restore gave {code}: {error}")
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
