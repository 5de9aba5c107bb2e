"""faults.py rest|s3|sftp: a backup and a restore over a bad network. Either they end whole, or they fail with the cause named, in
time, and nothing false is listed.

FAULTS faults are injected in all (30 over REST, 10 over the others). The full number: FAULTS=500 python3 faults.py s3."""
import collections

import fault_stores
from common import *

ROUND = 10          # faults in one backup or restore
DEADLINE = 420      # seconds that one command may take: its retries, and the stalls that it was given


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

    def backup(self, place, *words):
        return self.images.command("-q", *place.words, *words, "backup", "vg0/data")


def communicate(command):
    """What a command says until its end, which comes before the deadline."""
    try:
        return command.communicate(timeout=DEADLINE)[1]
    except subprocess.TimeoutExpired:
        command.kill()
        fail(f"{command.args} hangs")


class Trial:
    def __init__(self, work, store):
        self.work, self.store, self.proxy = work, store, store.proxy
        self.volume = Volume(work)
        self.sums = {}  # of the backups that are listed
        self.whole = self.waits = 0

    def listed(self):
        return {b["id"] for b in self.store.directly.backups()}

    def attempt(self, argv, also=()):
        """A command under faults: its exit code, and what it said. What it names is what was done to it."""
        begin, known = time.monotonic(), len(self.proxy.done)
        command = spawn(argv, errors="replace")
        said = communicate(command)
        self.require_named(command.returncode, said, set(self.proxy.done[known:]), also)
        print(f"  exit {command.returncode} after {time.monotonic() - begin:.1f} s, {len(self.proxy.done) - known} faults", flush=True)
        return command.returncode, said

    def require_named(self, code, said, kinds, also=()):
        """What was waited for, and what it failed of, is one of the faults that were injected, each in its own words."""
        # A busy machine stalls by itself.
        words = [*self.store.words_of(kinds | {"stall"}), *also]
        lines = said.splitlines()
        waits = [line for line in lines if "trying again" in line]
        ends = [line for line in lines if line.startswith("respaldo: ")]
        for line in waits + ends:
            need(any(word in line for word in words), f"{sorted(kinds)} were injected, and this was said: {said}")
        need(bool(ends) == (code != 0), f"exit {code}, and the cause is not named: {said}")
        self.waits += len(waits)

    def back_up(self, *words, prefix=(), also=(), change=True):
        """A backup, whose outcome agrees with what is listed then; what it said."""
        if change:
            self.volume.change()
        now, before = self.volume.sum(), self.listed()
        code, said = self.attempt([*prefix, *self.volume.backup(self.store.badly, *words)], also)
        self.account(code, said, now, before)
        return code, said

    def account(self, code, said, now, before):
        self.proxy.disarm()
        new = self.listed() - before
        need(len(new) == 1 if code == 0 else len(new) <= 1, f"exit {code}, and {len(new)} new backups: {said}")
        self.sums.update((one, now) for one in new)
        self.whole += code == 0
        self.store.directly.respaldo("unlock", "--remove-all")

    def restore(self):
        """It ends whole, or leaves no file under the name."""
        one, back = RANDOM.choice(list(self.sums)), self.work / "back"
        code, said = self.attempt([RESPALDO, "-q", *self.store.badly.words, "restore", f"{one}:vg0/data", "--to-file", back])
        need(back.exists() == (code == 0), f"exit {code}, and the file is {'there' if code else 'not there'}")
        if code == 0:
            need(file_sum(back) == self.sums[one], "a restore over a bad network brought other bytes")
            back.unlink()
        self.proxy.disarm()
        self.whole += code == 0
        self.store.directly.respaldo("unlock", "--remove-all")

    def rounds(self, faults):
        """Backups and restores by turns, until so many faults were injected."""
        rounds, first = 0, len(self.proxy.done)

        def arm():
            left = faults - (len(self.proxy.done) - first)
            self.proxy.arm(min(ROUND, left), RANDOM.choice(self.store.chances), self.store.usual)
            return left > 0

        while arm():
            rounds += 1
            need(rounds <= faults + 10, f"only {len(self.proxy.done) - first} faults found something to spoil")
            self.back_up()
            if self.sums and arm():
                self.restore()
        return rounds

    # Each fault alone.

    def every_kind_is_named(self):
        """A network that does nothing else: what it does is named, at once, and Ctrl-C ends the waiting."""
        for kind in self.proxy.KINDS:
            self.proxy.arm(10 ** 6, 1, [kind], self.store.early)
            place = self.store.hasty if kind == "stall" else self.store.badly
            listing = spawn([RESPALDO, *place.words, "list"])
            words, stall = self.store.words_of({kind}), self.store.words_of({"stall"})
            if words:
                # A busy machine stalls by itself, too.
                waits = (line for line in listing.stderr if "trying again" in line)
                line = next((line for line in waits if kind == "stall" or not any(word in line for word in stall)), "")
                need(any(word in line for word in words), f"'{kind}' is not named: {line}")
                listing.send_signal(signal.SIGINT)
                communicate(listing)
                need(listing.returncode == 130, f"Ctrl-C gave {listing.returncode}")
            else:
                said = communicate(listing)
                need(listing.returncode == 0, f"'{kind}' alone broke a command: {said}")
            print(f"  {kind}: {line.strip() if words else 'no harm'}", flush=True)
        self.proxy.disarm()

    def given_up_in_the_end(self):
        """Nor does it go on for ever when nobody stops it: a store that was never reached is given up, by doctor soon."""
        kind = self.proxy.KINDS[0]
        self.proxy.arm(10 ** 6, 1, [kind], self.store.early)
        found = run([RESPALDO, *self.store.badly.words, "--json", "doctor"], expect=None, timeout=DEADLINE).stdout
        need(any(word in found for word in self.store.words_of({kind})), f"doctor does not name the fault: {found}")
        self.proxy.disarm()

    def in_midst(self, what, *words):
        """`what` happens when the first pack of a backup is there; its exit code, and what it said."""
        self.volume.change(16 * MIB)
        now, before, packs = self.volume.sum(), self.listed(), self.store.packs()
        backup = spawn([*self.volume.backup(self.store.badly, "--limit-upload", "4096"), "--pack-size", "4M", *words])
        while self.store.packs() == packs and backup.poll() is None:
            time.sleep(0.02)
        what()
        said = communicate(backup)
        return backup.returncode, said, now, before

    def restart(self):
        """The server is killed in the midst of a backup, and comes back: the backup waits, and ends whole."""
        def kill():
            self.store.kill()
            time.sleep(1)
            self.store.start()
        code, said, *state = self.in_midst(kill)
        need(code == 0, f"a backup did not outlive a restart of the server: {said}")
        self.require_named(code, said, {"restart"})
        self.account(code, said, *state)

    def fails_at_once(self, what, words, undo=lambda: None):
        """Something that no second attempt mends: named, nothing listed, and when it is over, the next backup is whole."""
        code, said, now, before = self.in_midst(what)
        undo()
        need(code == 1 and any(word in said for word in words), f"exit {code}, and {words} is not said: {said}")
        need(self.listed() == before, "a backup is listed that failed")
        self.account(code, said, now, before)
        need(self.back_up(change=False)[0] == 0, "the next backup is not whole")
        print(f"  named: {words[0]}", flush=True)

    def skew(self):
        """A clock that is hours off: refused with the reason, or no harm."""
        code, said = self.back_up(prefix=["faketime", "-m", "--exclude-monotonic", "-f", "+3h"], also=self.store.skew_words)
        if self.store.skew_words:
            need(code == 1 and all(word in said for word in self.store.skew_words), f"the clock is not named: {code} {said}")
        else:
            need(code == 0, f"a wrong clock broke a backup: {said}")

    def all_is_whole(self):
        self.store.directly.restic("check", "--read-data")
        need(self.listed() == set(self.sums), "a backup is listed that is not ours")
        for one, expected in self.sums.items():
            self.store.directly.respaldo("-q", "restore", f"{one}:vg0/data", "--to-file", self.work / "back")
            need(file_sum(self.work / "back") == expected, "a listed backup is not whole")
            (self.work / "back").unlink()


def main():
    kind = sys.argv[1]
    with folder() as work, fault_stores.OPEN[kind](work) as store:
        faults = int(os.environ.get("FAULTS", store.faults))
        store.directly.respaldo("init")
        trial = Trial(work, store)
        trial.every_kind_is_named()
        trial.given_up_in_the_end()
        trial.back_up()
        done = len(trial.proxy.done)
        rounds = trial.rounds(faults)
        counted = dict(collections.Counter(trial.proxy.done[done:]))
        print("restart, clock, and what no second attempt mends:", flush=True)
        trial.restart()
        trial.skew()
        store.permanent(trial)
        trial.all_is_whole()
        print(f"{kind}: {sum(counted.values())} faults in {rounds} rounds {counted}; {trial.whole} commands ended whole, "
              f"{trial.waits} warnings named what was waited for, {len(trial.sums)} backups are listed and whole")


if __name__ == "__main__":
    main()
