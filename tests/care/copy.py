"""`copy` between repositories of ours and of restic's, both ways; killed and gone on with."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]


def main():
    with folder() as work:
        images = Images(work, "a.img", size=64 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "24M", "-n", "data", "vg0")
        source, target, third = work / "source", work / "target", work / "third"
        run([CARE_TOOL, "init", source])
        run(["restic", "--no-cache", "-r", target, "init"])
        sums = []
        for n in range(3):
            with images.activated() as point:
                write_at(point / "vg0/data", n * 4 * MIB, random_bytes((20 - 6 * n) * MIB))
            images("-q", "-r", source, "backup", "vg0/data", "--tag", f"n{n}")
            sums.append(images.sum_of("vg0/data"))
        tree = work / "tree"
        tree.mkdir()
        (tree / "a").write_bytes(random_bytes(3 * MIB))
        (tree / "b").write_bytes(b"text " * 100000)
        restic(source, "backup", tree)

        ENV["RESPALDO_FROM_PASSWORD"] = "endtoend"
        copy = [RESPALDO, "--json", "-r", target, "copy", "--from-repo", source]
        # Each kill amid the work leaves less of it: every other time the target begins anew, and the kill is after its
        # first change.
        empty, trial = work / "empty", work / "trial"
        shutil.copytree(target, empty)
        shutil.copytree(target, trial)
        seconds = duration([RESPALDO, "-r", trial, "copy", "--from-repo", source])
        rest = Moments(seconds)

        def there():
            return objects(target, "data", "index", "snapshots")

        killed = amid = 0
        for n in range(100):
            if killed >= 12 and amid >= 3:
                break
            anew = n % 2 == 0
            if anew:
                shutil.rmtree(target)
                shutil.copytree(empty, target)
            before, begun_at = there(), None

            def begun():
                nonlocal begun_at
                if there() == before:
                    return False
                begun_at = time.monotonic()
                return True

            if anew:
                code, _, error = kill_after(copy, rest.choose(), begun=begun)
            else:
                code, _, error = kill_after(copy, RANDOM.uniform(0, seconds))
            if code == -signal.SIGKILL:
                killed += 1
                amid += there() != before
            else:
                need(code == 0, f"copy failed by itself: {error}")
                if anew:
                    # What counts is the time behind the first change: opening the repositories may take far longer.
                    rest.done_after(time.monotonic() - (begun_at or time.monotonic()))
            for repository in (source, target):
                run([RESPALDO, "-r", repository, "unlock"])
            restic(target, "check")
        need(amid >= 3, f"of {killed} kills only {amid} fell amid the work")
        said = json.loads(run(copy).stdout)
        need(len(said["backups"]) == 4, f"copied {said}")
        again = json.loads(run(copy).stdout)
        need(all(b["was_there"] for b in again["backups"]) and again["new_blobs"] == 0, f"a second copy did {again}")
        need(len(backups(target)) == 4, "backups are there twice")
        run([RESPALDO, "-r", target, "prune"])
        restic(target, "check", "--read-data")
        for n, expected in enumerate(sums):
            one = next(b["id"] for b in backups(target) if b["tags"] == [f"n{n}"])
            run([RESPALDO, "-q", "-r", target, "restore", f"{one}:vg0/data", "--to-file", work / "back"])
            need(file_sum(work / "back") == expected, "a copied backup holds other bytes")
            (work / "back").unlink()
        restic(target, "restore", "latest", "--path", tree, "--target", work / "files")
        run(["diff", "-r", tree, str(work / "files") + str(tree)])

        # restic knows our copies, and we those of restic; an old repository takes no compressed blobs.
        ENV["RESTIC_FROM_PASSWORD"] = "endtoend"
        (work / "key").write_text("endtoend\n")
        run(["restic", "--no-cache", "-r", third, "init", "--repository-version", "1"])
        out = json.loads(run([RESPALDO, "--json", "-r", third, "copy", "--from-repo", source, "--from-password-file",
                              work / "key", "--tag", "n0"]).stdout)
        need(len(out["backups"]) == 1, "a filter was not heard")
        restic(third, "check", "--read-data")
        run(["restic", "--no-cache", "-r", target, "copy", "--from-repo", source, "--from-password-file", work / "key"])
        need(len(backups(target)) == 4, "restic copied again what was copied")
        run([RESPALDO, "-r", source, "copy", "--from-repo", source], expect=2)
        run([RESPALDO, "-r", source, "copy", "--from-repo", work / "nowhere"], expect=10)
        # A backup of the source that cannot be read: the others are copied, and the exit code says that it may be missed.
        torn = next(p for p in (source / "snapshots").iterdir())
        os.chmod(torn, 0o600)
        write_at(torn, 20, b"torn")
        fourth = work / "fourth"
        run([CARE_TOOL, "init", fourth])
        result = run([RESPALDO, "-r", fourth, "copy", "--from-repo", source], expect=20)
        need(torn.name[:8] in result.stderr, result.stderr)
        need(len(backups(fourth)) == 3, "the others were not copied")
        restic(fourth, "check", "--read-data")
        print(f"copied, with {killed} kills, {amid} of them amid the work")


main()
