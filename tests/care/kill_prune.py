"""A hundred backups of a volume that changes, `forget` and `prune` killed at 50 random moments: stock restic finds the
repository whole, and every backup that was kept comes back as it was."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]

BACKUPS, KILLS = int(os.environ.get("BACKUPS", "100")), int(os.environ.get("KILLS", "50"))
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
        killed = done = made = steps = 0

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

        whole = 0.6
        while made < BACKUPS or killed < KILLS:
            if made < BACKUPS:
                for _ in range(RANDOM.randrange(1, 4)):
                    back_up()
                    made += 1
            elif len(sums) < 3:
                back_up()
            if RANDOM.random() < 0.5:
                ids = RANDOM.sample(sorted(sums), max(1, len(sums) // 3)) if len(sums) > 2 else []
                care = [["forget", *ids], ["prune", "--max-unused", RANDOM.choice(["0", "5%", "unlimited"])]]
                care = care if ids else care[1:]
            else:
                care = [["forget", "--keep-last", str(RANDOM.randrange(3, 9)), "--prune", "--max-unused", "0"]]
            for words in care:
                start_time = time.monotonic()
                code, was_killed, error = kill_after(ours + words, RANDOM.uniform(0.02, whole))
                steps += 1
                if was_killed:
                    killed += 1
                    run([RESPALDO, "-r", repository, "unlock"])
                else:
                    need(code == 0, f"{words} failed by itself: {error}")
                    done += 1
                    whole = max(0.3, min(3, (whole + 1.1 * (time.monotonic() - start_time)) / 2))
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
        print(f"{made} backups, {killed} kills, {done} runs that ended; {len(sums)} backups are whole")


main()
