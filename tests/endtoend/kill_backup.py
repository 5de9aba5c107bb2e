"""`backup` is killed at 50 random moments: the repository stays sound, and only whole backups are listed, their images
and their files."""
from common import *

KILLS = 50


def none_left(images, when):
    left = images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout.split()
    need(not [name for name in left if name.startswith("respaldo_")], f"{when} a snapshot is left: {left}")


def main():
    with folder() as work:
        images = Images(work, "a.img", size=96 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "32M", "-n", "data", "vg0")
        images.lvm("lvcreate", "-L", "16M", "-n", "tree", "vg0")
        tree = work / "tree"
        for i in range(300):
            (tree / f"folder-{i % 20}").mkdir(parents=True, exist_ok=True)
            (tree / f"folder-{i % 20}" / f"file-{i}").write_bytes(random_bytes(RANDOM.randrange(20000)))
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        backup = images.command("-q", "-r", repository, "backup", "vg0/data", "vg0/tree")

        with images.activated() as point:
            write_at(point / "vg0/data", 0, random_bytes(30 * MIB))
            run(["mke2fs", "-q", "-t", "ext4", "-d", tree, point / "vg0/tree"])
        whole = duration(backup)
        # Without an activation, the volume itself is read; with one, a snapshot is made first.
        killed = 0
        known = {b["id"] for b in backups(repository)}
        for n in range(3 * KILLS):
            if killed == KILLS:
                break
            served = n % 2 == 1
            moment = RANDOM.uniform(0, whole + (0.3 if served else 0))
            if served:
                with images.activated() as point:
                    write_at(point / "vg0/data", RANDOM.randrange(31) * MIB, random_bytes(MIB))
                    expected = file_sum(point / "vg0/data")
                    code, was_killed, error = kill_after(backup, moment)
                    if n % 4 == 1:
                        images("clean")
                    else:  # the next run does the same
                        listed = {b["id"] for b in backups(repository)}
                        run(backup)
                        known |= {b["id"] for b in backups(repository)} - listed
                    none_left(images, "while they are served")
            else:
                fd = RANDOM.randrange(31) * MIB
                with images.activated() as point:
                    write_at(point / "vg0/data", fd, random_bytes(MIB))
                expected = images.sum_of("vg0/data")
                code, was_killed, error = kill_after(backup, moment)
            need(was_killed or code == 0, f"the backup failed by itself: {error}")
            killed += was_killed
            run([RESPALDO, "-r", repository, "unlock"])
            fresh = [b for b in backups(repository) if b["id"] not in known]
            need(len(fresh) <= 1 and (was_killed or len(fresh) == 1), f"{len(fresh)} new backups after a kill at {moment:.3f} s")
            for b in fresh:
                # Listed means whole, killed or not.
                out = work / "restored"
                run([RESPALDO, "-q", "-r", repository, "restore", b["id"] + ":vg0/data", "--to-file", out])
                need(file_sum(out) == expected, "a listed backup holds other bytes")
                out.unlink()
                run([RESPALDO, "-q", "-r", repository, "restore", b["id"] + ":vg0/tree", "--files", "--to", out])
                (out / "lost+found").rmdir()
                run(["diff", "-r", tree, out])
                shutil.rmtree(out)
                known.add(b["id"])
            if n % 16 == 15:
                restic(repository, "check", "--read-data")
            none_left(images, "afterwards")
            images.lvm("vgck", "vg0")
        run(backup)
        restic(repository, "check", "--read-data")
        run([RESPALDO, "-q", "-r", repository, "check", "--read-data"])
        need(killed == KILLS, f"only {killed} kills hit")
        print(f"{killed} kills; {len(known)} backups are whole")


main()
