"""Peak memory of the care of a repository of a million blobs (BLOBS=N), by GNU time: forget and prune below 150 MB
(10^6 bytes); what reads whole trees for people below the 300 MB and 48 bytes for each blob of all commands."""
from common import *

CARE_TOOL = os.environ["CARE_TOOL"]
BLOBS = int(os.environ.get("BLOBS", "1000000"))
LIMIT = 150_000_000
LOOK_LIMIT = 300_000_000 + 48 * BLOBS


def peak_of(argv):
    result = run(["/usr/bin/time", "-f", "%M %e", *argv])
    kib, seconds = result.stderr.strip().splitlines()[-1].split()
    return int(kib) * 1024, float(seconds), result.stdout


def main():
    with folder() as work:
        repository = work / "repository"
        run([CARE_TOOL, "blobs", repository, BLOBS])
        ours = [RESPALDO, "-q", "-r", repository]
        first = next(b["id"] for b in backups(repository) if b["tags"] == ["first"])
        for words in (["check"], ["forget", first], ["prune", "--dry-run"], ["prune", "--max-unused", "0"], ["check"],
                      ["repair", "index"]):
            peak, seconds, out = peak_of(ours + words)
            print(f"{' '.join(words)[:40]:<28} {peak / 1e6:7.1f} MB {seconds:7.1f} s", flush=True)
            limit = LIMIT if words[0] in ("forget", "prune") else LOOK_LIMIT
            need(peak < limit, f"{words} took {peak / 1e6:.1f} MB")
        left = json.loads(run([RESPALDO, "--json", "-r", repository, "prune", "--dry-run"]).stdout)
        need(left["blobs"]["unused"] == 0 and left["blobs"]["used"] > BLOBS * 0.6, f"prune left {left['blobs']}")
        restic(repository, "check")


main()
