"""latency.py rest|s3|sftp: a repository where each request takes DELAY (100) ms longer, with no limit of bandwidth.

What does not depend on the machine is always required: how many requests `list` and `ls` of a warm cache make (rest alone), and how
many packs the restore of one file reads beyond the trees. Times are printed, and with RESPALDO_RATIOS=1 required: list and ls of a volume with a
few hundred files take less than half a second; a backup of one that is four fifths full of this machine's files takes at most 1.5 times as long as
without the delay. (Into a folder is printed beside it: that the server, and ssh or Ceph, need the same cores is none of the delay's. So is ls of all
those files: it takes as long as there is to show.) On a quiet machine, for each of the three stores:
  RESPALDO_RATIOS=1 SIZE=2048 ROUNDS=3 CEPH_BYTES=12G python3 latency.py s3"""
import re
import statistics

import servers
from common import *
from delay_proxy import DelayLine, DelayProxy
from life import PATIENCE, SIZE, Machine, Place
from sshd import Sshd

DELAY = float(os.environ.get("DELAY", "100")) / 1000
ROUNDS = int(os.environ.get("ROUNDS", "1"))
REQUIRED = "RESPALDO_RATIOS" in os.environ
PACKS = 3


class Http:
    def __init__(self, port, location, most):
        self.proxy, self.location, self.most = DelayProxy(("127.0.0.1", port), DELAY), location, most

    def place(self, name, delayed=True):
        host = f"127.0.0.1:{self.proxy.port}" if delayed else None
        return Place(self.location(host, name))

    def requests(self):
        return [line for _, line in self.proxy.log]

    def packs_read(self, since):
        return {found[1] for line in self.requests()[since:]
                if (found := re.match(r"GET \S*/data/(?:[0-9a-f]{2}/)?([0-9a-f]{64})", line))}


class Sftp:
    """The delay is one of each request, between sshd and its sftp-server; or, by line(), of all that SSH sends, where its
    hello takes a dozen round trips and each connection has 2 MiB on its way at most."""
    most = {}  # not known yet: printed, not required

    def __init__(self, near, far, work):
        self.near, self.far, self.work = near, far, work
        self.proxy = DelayLine(("127.0.0.1", near.port), DELAY)

    def place(self, name, delayed=True):
        return self.over(self.far if delayed else self.near, name)

    def line(self, name):
        return self.over(self.near, name, f"-p {self.proxy.port} -o HostKeyAlias=[127.0.0.1]:{self.near.port} ")

    def over(self, server, name, port=""):
        return Place(f"sftp:store:{self.work / name}", ["-o", f"sftp.args={port}-F '{server.config}'"])

    def requests(self):
        """Files opened and folders listed, out of the far server's log. Several at once share a round trip."""
        return [line for line in (self.far.folder / "log").read_text(errors="replace").splitlines()
                if re.search(r"open(dir)? \"", line)]

    def packs_read(self, since):
        return {found[1] for line in self.requests()[since:]
                if (found := re.search(r"open \"[^\"]*/data/[0-9a-f]{2}/([0-9a-f]{64})\" flags READ", line))}


@contextlib.contextmanager
def opened(kind, work):
    if kind == "rest":
        with servers.rest() as server:
            yield Http(server.port, lambda host, name: f"rest:http://{host or server.address}/{name}/", {"list": 3, "ls": 4})
    elif kind == "s3":
        with servers.s3() as ceph:
            ENV.update(ceph.environment())
            yield Http(ceph.port, lambda host, name: f"s3:http://{host or f'127.0.0.1:{ceph.port}'}/{name}",
                       {})
    else:
        # What is inside sshd logs to nowhere; sshd_config takes no blanks in a program's name.
        with tempfile.TemporaryDirectory(prefix="respaldo-sftp.", dir="/tmp") as place:
            servers_of = []
            for name, before in (("near", ""), ("far", f"'{os.environ['DELAY_REQUESTS']}' {DELAY} ")):
                counted = pathlib.Path(place) / name
                counted.write_text(f"#!/bin/sh\nexec {before}/usr/lib/openssh/sftp-server -e -l VERBOSE 2>>'{work}/{name}/log'\n")
                counted.chmod(0o700)
                servers_of.append(Sshd(work / name, str(counted)))
            try:
                yield Sftp(*servers_of, work)
            finally:
                for server in servers_of:
                    server.cut()
                    server.stop()


def seconds(argv):
    begin = time.monotonic()
    run(argv, timeout=PATIENCE)
    return time.monotonic() - begin


def backups_in_turn(store, machine, work):
    """Into a folder, far away, and near on the same server, by turns."""
    times = {"folder": [], "far": [], "near": []} | ({"line": []} if hasattr(store, "line") else {})
    for n in range(ROUNDS):
        places = {"folder": Place(work / f"local{n}"), "far": store.place(f"far{n}"), "near": store.place(f"near{n}", delayed=False)}
        if hasattr(store, "line"):
            places["line"] = store.line(f"line{n}")
        for name, place in places.items():
            place.respaldo("init")
            times[name].append(seconds(machine.images.command("-q", *place.words, "backup", "vg0/data")))
            if name == "folder":
                shutil.rmtree(place.location)
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(f"{SIZE} MiB, {DELAY * 1000:.0f} ms for each request: {middle['far']:.2f} s; without the delay {middle['near']:.2f} s: "
          f"{middle['far'] / middle['near']:.2f} times as long; into a folder {middle['folder']:.2f} s: "
          f"{middle['far'] / middle['folder']:.2f} ({times})", flush=True)
    if "line" in middle:
        print(f"over a line of {DELAY * 1000:.0f} ms: {middle['line']:.2f} s", flush=True)
    if REQUIRED:
        need(middle["far"] <= 1.5 * middle["near"], "a backup takes more than 1.5 times as long as without the delay")


def warm(store, place, *words):
    """The second of two commands: its requests are counted."""
    place.respaldo(*words)
    known, most = len(store.requests()), store.most.get(words[0])
    took = seconds([RESPALDO, *place.words, *words])
    made = store.requests()[known:]
    print(f"{words[0]} of a warm cache: {len(made)} requests, {took:.2f} s\n  " + "\n  ".join(made), flush=True)
    need(made, "no request was seen: is the counting right?")
    need(most is None or len(made) <= most, f"{words[0]} of a warm cache makes {len(made)} requests, {most} are enough: {made}")
    if REQUIRED:
        need(took < 0.5, f"{words[0]} of a warm cache takes {took:.2f} s")


def long_list(place):
    """Of all files: most of it is none of the delay's."""
    words = [RESPALDO, *place.words, "ls", "latest"]
    entries = len(run(words, timeout=PATIENCE).stdout.splitlines())
    print(f"ls of {entries} entries: {statistics.median(seconds(words) for _ in range(5)):.2f} s", flush=True)


def one_file(store, place, machine, work):
    """A file out of the midst of a volume, with the trees at hand."""
    place.respaldo("ls", "latest")
    known = len(store.requests())
    place.respaldo("-q", "restore", "latest:vg0/data", "--files", "--to", work / "back", "folder/single")
    need(file_sum(next((work / "back").rglob("single"))) == file_sum(machine.tree / "folder/single"), "the file came back wrong")
    shutil.rmtree(work / "back")
    packs = store.packs_read(known)
    need(packs, "no pack was seen: is the counting right?")
    need(len(packs) <= PACKS, f"one file needs {len(packs)} packs, and {PACKS} are enough")
    print(f"one file of {machine.single >> 10} KiB: {len(packs)} packs, {len(store.requests()) - known} requests")


def use_volume_up(machine):
    """Four fifths of it are this machine's own files: whoever measures takes a disk in use, whose bytes cost something."""
    left, at = SIZE * MIB * 4 // 5 - sum(path.stat().st_size for path in machine.tree.rglob("*")), machine.tree / "files"
    at.mkdir()
    for place, folders, names in os.walk("/usr"):
        folders.sort()
        into = at / pathlib.Path(place).relative_to("/usr")
        into.mkdir(exist_ok=True)
        for name in sorted(names):
            path = pathlib.Path(place, name)
            size = -path.lstat().st_size // 4096 * -4096
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK) or size > min(left, 4 * MIB):
                continue
            shutil.copyfile(path, into / name)
            left -= size + 512
        if left < MIB:
            return


def main():
    with folder() as work, opened(sys.argv[1], work) as store:
        ENV["RESPALDO_CACHE_DIR"] = str(work / "cache")
        machine = Machine(work)
        machine.single = MIB
        (machine.tree / "folder/single").write_bytes(random_bytes(machine.single))
        for n in range(200):
            (machine.tree / f"folder/small {n}").write_bytes(random_bytes(RANDOM.randrange(1, 20000)))
        machine.fill()
        place = store.place("listed")
        place.respaldo("init")
        machine.back_up(place, "listed")
        warm(store, place, "list")
        warm(store, place, "ls", "latest")
        one_file(store, place, machine, work)
        if REQUIRED:
            use_volume_up(machine)
            machine.fill()
        backups_in_turn(store, machine, work)
        if REQUIRED:
            long_list(store.place("far0"))
            one_file(store, store.place("far0"), machine, work)


if __name__ == "__main__":
    main()
