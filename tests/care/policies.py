"""`forget` keeps what stock restic keeps, for random policies on random backups. POLICIES=N: how many (default 40)."""
import datetime
import subprocess

from common import *

CARE_TOOL = os.environ["CARE_TOOL"]
POLICIES = int(os.environ.get("POLICIES", "40"))


def random_policy():
    words = []
    for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
        if RANDOM.random() < 0.3:
            words += [f"--keep-{name}", str(RANDOM.choice([1, 2, 3, 5, 10, 50]))]
    for name in ("", "-hourly", "-daily", "-weekly", "-monthly", "-yearly"):
        if RANDOM.random() < 0.2:
            units = "".join(f"{RANDOM.randrange(1, n)}{unit}" for unit, n in (("y", 3), ("m", 14), ("d", 60), ("h", 40))
                            if RANDOM.random() < 0.5)
            words += [f"--keep-within{name}", units or "17d"]
    if RANDOM.random() < 0.3:
        words += ["--keep-tag", RANDOM.choice(["a", "b", "a,b", "b,c", ""])]
    if not words:
        words = ["--keep-last", "3"]
    if RANDOM.random() < 0.3:
        words += ["--host", RANDOM.choice(["east", "west"])]
    if RANDOM.random() < 0.3:
        words += ["--tag", RANDOM.choice(["a", "b,c", ""])]
    if RANDOM.random() < 0.3:
        words += ["--path", RANDOM.choice(["/dev/vg0/root", "/dev/vg0/extra"])]
    words += ["--group-by", RANDOM.choice(["host,paths", "host", "paths", "tags", "host,paths,tags", ""])]
    return words


def by_restic(repository, words):
    out = run(["restic", "--no-cache", "--no-lock", "-r", repository, "forget", "--dry-run", "--json", *words]).stdout
    line = next((line for line in out.splitlines() if line.startswith("[")), "[]")
    kept, removed = set(), set()
    for group in json.loads(line):
        kept |= {s["id"] for s in group["keep"] or []}
        removed |= {s["id"] for s in group["remove"] or []}
    return kept, removed


def keeps_oldest():
    version = run(["restic", "version"]).stdout.split()[1].split(".")
    return (int(version[0]), int(version[1])) >= (0, 16)


def days_of(repository):
    """From the first backup to the last."""
    dates = sorted(b["time"][:10] for b in backups(repository))
    return (datetime.date.fromisoformat(dates[-1]) - datetime.date.fromisoformat(dates[0])).days


def asks_about_a_gap(work):
    """Through the program: nothing goes before the dates are confirmed."""
    for seed in range(200):
        repository = work / f"gap-{seed}"
        run([CARE_TOOL, "backups", repository, seed, 2, 2000])
        if days_of(repository) > 400:
            break
    ids = {b["id"] for b in backups(repository)}
    forget = [RESPALDO, "-r", repository, "forget", "--group-by", "", "--keep-within", "1m"]
    refused = run(forget, expect=1).stderr
    need("too old to keep; nothing was forgotten" in refused and "--trust-clock" in refused, refused)
    need({b["id"] for b in backups(repository)} == ids, "a refused forget removed something")
    run([*forget, "--trust-clock"])
    need(len(backups(repository)) == 1, "--trust-clock confirms nothing")


def main():
    with folder() as work:
        asks_about_a_gap(work)
        oldest_too = keeps_oldest()
        refused = asked = 0
        for n in range(POLICIES):
            if n % 20 == 0:
                repository = work / f"repository-{n}"
                run([CARE_TOOL, "backups", repository, SEED + n, RANDOM.choice([30, 90]), RANDOM.choice([5, 90, 900])])
            words = random_policy()
            forget = [RESPALDO, "--json", "-r", repository, "forget", "--dry-run", *words]
            result = run(forget, expect=None)
            if "--trust-clock" in result.stderr:
                # Only a year without backups is a reason to ask.
                need(days_of(repository) > 366, f"{words}: {result.stderr}")
                asked += 1
                result = run([*forget, "--trust-clock"], expect=None)
            kept, removed = by_restic(repository, words)
            if result.returncode != 0:
                # A policy that keeps nothing of a group: newer resticses refuse it as well.
                need("would forget every backup" in result.stderr, f"{words}: {result.stderr}")
                refused += 1
                continue
            ours = json.loads(result.stdout)
            mine = {b["id"]: b["reasons"] for group in ours["groups"] for b in group["keep"]}
            gone = {b["id"] for group in ours["groups"] for b in group["remove"]}
            if not oldest_too:
                only_oldest = {i for i, why in mine.items() if all(w.startswith("oldest ") for w in why)}
                gone |= only_oldest
                mine = {i: why for i, why in mine.items() if i not in only_oldest}
            need(set(mine) == kept, f"{words}: kept {sorted(set(mine) ^ kept)} otherwise than restic")
            need(gone == removed, f"{words}: removed {sorted(gone ^ removed)} otherwise than restic")
        need(refused < POLICIES / 2, "hardly any policy was compared")
        print(f"{POLICIES - refused} policies keep the same backups; {refused} would have kept nothing of a group; "
              f"{asked} had to be confirmed")


main()
