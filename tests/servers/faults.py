"""A backup and a restore over a bad network: either they end whole, or they fail with the cause named, in time, and nothing
false is listed. FAULTS (30) faults are injected in all; more by hand."""
import collections

import servers
from common import *
from faulty_proxy import FaultyProxy

FAULTS = int(os.environ.get("FAULTS", "30"))
ROUND = 10          # faults in one backup or restore
DEADLINE = 420      # seconds that one command may take: its retries, and the stalls that it was given
CAUSES = ("stalled", "reset", "refused", "cut short", "Empty reply", "failed", "closed", "asks to try later", "(status 5", "(status 429",
          "transfer closed", "Connection")


class Volume:
    """A volume of random bytes, some of which change."""

    def __init__(self, work, size=24):
        self.size = size * MIB
        self.images = Images(work, "disk.img", size=self.size + 16 * MIB)
        self.images.lvm("vgcreate", "vg0", self.images.paths[0])
        self.images.lvm("lvcreate", "-L", f"{size}M", "-n", "data", "vg0")
        self.change(self.size)

    def change(self, length=6 * MIB):
        with self.images.activated() as point:
            write_at(point / "vg0/data", RANDOM.randrange(self.size - length + 1), random_bytes(length))

    def sum(self):
        return self.images.sum_of("vg0/data")


def attempt(argv):
    """A command under faults: its exit code, and what it said. Never longer than the deadline."""
    begin = time.monotonic()
    try:
        done = subprocess.run([str(a) for a in argv], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        fail(f"{argv} hangs")
    if done.returncode != 0:
        need(any(cause in done.stderr for cause in CAUSES), f"the cause is not named: {done.stderr}")
    print(f"  exit {done.returncode} after {time.monotonic() - begin:.1f} s", flush=True)
    return done.returncode, done.stderr


def restart(machine, server, location, options, sums):
    """The server is killed in the midst of a backup, and comes back: the backup waits, and ends whole."""
    machine.change()
    now = machine.sum()
    before = {b["id"] for b in backups(location)}
    backup = subprocess.Popen(machine.images.command("-q", *options, "--limit-upload", "4096", "-r", location, "backup", "vg0/data"),
                              env=ENV, stderr=subprocess.PIPE, text=True)
    packs = server.folder / "data/data"
    known = len(list(packs.rglob("*")))
    while len(list(packs.rglob("*"))) == known and backup.poll() is None:
        time.sleep(0.02)
    server.stop(signal.SIGKILL)
    time.sleep(2)
    server.start()
    said = backup.communicate(timeout=DEADLINE)[1]
    need(backup.returncode == 0, f"a backup did not outlive a restart of the server: {said}")
    new = [b["id"] for b in backups(location) if b["id"] not in before]
    need(len(new) == 1, f"{len(new)} new backups after a restart")
    sums[new[0]] = now


def main():
    with folder() as work, servers.rest() as server:
        machine = Volume(work)
        directly = f"rest:{server.url}"
        proxy = FaultyProxy(("127.0.0.1", server.port), SEED)
        badly = f"rest:http://127.0.0.1:{proxy.port}/"
        options = ["--no-cache", "-o", "rest.stall=5"]
        run([RESPALDO, "-r", directly, "init"])
        sums, whole, rounds = {}, 0, 0
        while len(proxy.done) < FAULTS and rounds < FAULTS:
            rounds += 1
            machine.change()
            now = machine.sum()
            proxy.arm(min(ROUND, FAULTS - len(proxy.done)), RANDOM.choice((0.1, 0.3, 0.6)))
            before = {b["id"] for b in backups(directly)}
            code, said = attempt(machine.images.command("-q", *options, "-r", badly, "backup", "vg0/data"))
            new = [b["id"] for b in backups(directly) if b["id"] not in before]
            need(len(new) == 1 if code == 0 else len(new) <= 1, f"exit {code}, and {len(new)} new backups: {said}")
            sums.update((one, now) for one in new)
            whole += code == 0
            run([RESPALDO, "-r", directly, "unlock", "--remove-all"])
            if not sums:
                continue
            # A restore ends whole, or leaves no file under the name.
            one = RANDOM.choice(list(sums))
            proxy.arm(min(ROUND, FAULTS - len(proxy.done)), RANDOM.choice((0.1, 0.3, 0.6)))
            code, said = attempt([RESPALDO, "-q", *options, "-r", badly, "restore", f"{one}:vg0/data", "--to-file", work / "back"])
            need((work / "back").exists() == (code == 0), f"exit {code}, and the file is {'there' if code else 'not there'}")
            if code == 0:
                need(file_sum(work / "back") == sums[one], "a restore over a bad network brought other bytes")
                (work / "back").unlink()
            whole += code == 0
            run([RESPALDO, "-r", directly, "unlock", "--remove-all"])
        restart(machine, server, badly, options, sums)
        need(len(proxy.done) >= FAULTS, f"only {len(proxy.done)} faults were injected")
        restic(directly, "check", "--read-data")
        for one, expected in sums.items():
            run([RESPALDO, "-q", "-r", directly, "restore", f"{one}:vg0/data", "--to-file", work / "back"])
            need(file_sum(work / "back") == expected, "a listed backup is not whole")
            (work / "back").unlink()
        kinds = collections.Counter(kind for kind, _ in proxy.done)
        print(f"{len(proxy.done)} faults in {rounds} rounds ({dict(kinds)}); {whole} commands ended whole, "
              f"{len(sums)} backups are listed and whole")


main()
