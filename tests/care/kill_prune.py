"""A hundred backups of a volume that changes, `forget` and `prune` killed at 50 random moments, ten of them at least when
packs or indexes had changed already: stock restic finds the repository whole, and every backup that was kept comes back as it
was."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]

BACKUPS, KILLS = int(os.environ.get("BACKUPS", "100")), int(os.environ.get("KILLS", "50"))
AMID, ENDED = KILLS // 5, 5  # kills amid the work, and runs that end by themselves, that there must be
STEPS = 20 * KILLS + 2 * BACKUPS  # no more runs than these, whatever became of them
BLOCK = 64 << 10
BLOCKS = 96  # 6 MiB


def main():
    with folder() as work:
        images = Images(work, "a.img", size=32 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-l", str(BLOCKS * BLOCK // (4 * MIB) + 1), "-n", "data", "vg0")
        repository = work / "repository"
        run([CARE_TOOL, "init", repository])
        # Where the volume begins in the image: it is one run of extents.
        start = int(images.lvm("pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start").stdout.strip())
        sums, ours = {}, [RESPALDO, "-q", "-r", repository]
        killed = amid = done = made = steps = 0
        whole, rest = {}, {}  # Moments of each kind of run: from its start, and from the first change it makes

        def back_up():
            for _ in range(RANDOM.randrange(1, 12)):
                write_at(images.paths[0], start + RANDOM.randrange(BLOCKS) * BLOCK, random_bytes(BLOCK))
            out = images("--json", "-q", "-r", repository, "backup", "vg0/data").stdout
            sums[json.loads(out)["backup"]] = images.sum_of("vg0/data")

        def look(deeply):
            listed = {b["id"] for b in backups(repository)}
            need(listed <= set(sums), "a backup is listed that was not made")
            for i in [i for i in sums if i not in listed]:
                del sums[i]
            for i in RANDOM.sample(sorted(listed), len(listed) if deeply else min(2, len(listed))):
                run(ours + ["restore", f"{i}:vg0/data", "--to-file", work / "back"])
                need(file_sum(work / "back") == sums[i], f"backup {i} came back otherwise")
                (work / "back").unlink()

        def time_of(words):
            """Unkilled, on a copy."""
            copy = work / "copy"
            shutil.copytree(repository, copy)
            seconds = duration([RESPALDO, "-q", "-r", copy, *words])
            shutil.rmtree(copy)
            return seconds

        while made < BACKUPS or killed < KILLS or amid < AMID or done < ENDED:
            need(steps < STEPS, f"after {steps} runs: {killed} kills, {amid} of them amid the work, {done} runs that ended")
            if made < BACKUPS:
                for _ in range(RANDOM.randrange(1, 4)):
                    back_up()
                    made += 1
            else:
                back_up()
            if RANDOM.random() < 0.5:
                ids = RANDOM.sample(sorted(sums), max(1, len(sums) // 3)) if len(sums) > 2 else []
                care = [["forget", *ids], ["prune", "--max-unused", RANDOM.choice(["0", "5%", "unlimited"])]]
                care = care if ids else care[1:]
            else:
                care = [["forget", "--keep-last", str(RANDOM.randrange(3, 9)), "--prune", "--max-unused", "0"]]
            for words in care:
                kind = " ".join(word for word in words if word in ("forget", "prune", "--prune"))
                if kind not in whole:
                    whole[kind] = Moments(time_of(words))
                    rest[kind] = Moments(whole[kind].seconds)
                parts = ["snapshots"] if kind == "forget" else ["data", "index"]
                before, since = objects(repository, *parts), time.monotonic()

                def changed():
                    nonlocal since
                    since = time.monotonic()
                    return objects(repository, *parts) != before

                # Most of the time goes before the first change: every other kill is after it.
                late = RANDOM.random() < 0.5
                moments = (rest if late else whole)[kind]
                code, _, error = kill_after(ours + words, moments.choose(), begun=changed if late else None)
                steps += 1
                if code == -signal.SIGKILL:
                    killed += 1
                    has_changed = objects(repository, *parts) != before
                    amid += has_changed and kind != "forget"
                    if late or not has_changed:
                        moments.early()
                    run([RESPALDO, "-r", repository, "unlock"])
                else:
                    need(code == 0, f"{words} failed by itself: {error}")
                    done += 1
                    if not late or objects(repository, *parts) != before:
                        moments.done_after(time.monotonic() - since)
            look(False)
            if steps % 10 < 2:
                restic(repository, "check")
        look(True)
        restic(repository, "check", "--read-data")
        run(ours + ["prune", "--max-unused", "0"])
        look(True)
        restic(repository, "check", "--read-data")
        left = json.loads(run([RESPALDO, "--json", "-r", repository, "prune", "--dry-run"]).stdout)
        need(left["blobs"]["unused"] == 0 and left["packs"]["unreferenced"] == 0, f"prune left {left}")
        # restic prunes what we pruned, and we what it pruned.
        if len(sums) > 1:
            restic(repository, "forget", "--keep-last", "2", "--prune", "--max-unused", "0")
        look(True)
        back_up()
        run(ours + ["forget", "--keep-last", "2", "--prune", "--max-unused", "0"])
        look(True)
        restic(repository, "check", "--read-data")
        print(f"{made} backups, {killed} kills, {amid} of them amid the work, {done} runs that ended; {len(sums)} backups are whole")


main()
