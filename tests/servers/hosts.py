"""Eight hosts back up at once into one S3 repository, while a ninth checks it; twice, then forget and prune. All is whole, and what
the hosts have in common is stored once.

Each host's volume has COMMON (24) MiB that all have and OWN (4) of its own, and changes 2. More: HOSTS=8 COMMON=512 OWN=64."""
import html
import urllib.parse

import servers
from common import *
from life import Place

HOSTS = int(os.environ.get("HOSTS", "8"))
COMMON, OWN, CHANGED = int(os.environ.get("COMMON", "24")), int(os.environ.get("OWN", "4")), 2
PATIENCE = 1800  # seconds


class Host:
    def __init__(self, work, number, common):
        self.name, self.work = f"host{number}", work / f"host{number}"
        self.work.mkdir()
        size = COMMON + OWN + CHANGED
        size += -size % 4
        self.images = Images(self.work, "disk.img", size=(size + 16) * MIB)
        self.images.lvm("vgcreate", "vg0", self.images.paths[0])
        self.images.lvm("lvcreate", "-L", f"{size}M", "-n", "data", "vg0")
        with self.images.activated() as point:
            write_at(point / "vg0/data", 0, common)
            write_at(point / "vg0/data", COMMON * MIB, random_bytes(OWN * MIB))
        self.expected = []

    def change(self):
        with self.images.activated() as point:
            write_at(point / "vg0/data", (COMMON + OWN) * MIB, random_bytes(CHANGED * MIB))

    def start(self, place, meeting):
        """A backup that waits in its midst, with its lock held, until all are there."""
        self.expected.append(self.images.sum_of("vg0/data"))
        wait = f"sh -c 'touch \"$1/$2\"; until [ $(ls \"$1\" | wc -l) -ge {HOSTS} ]; do sleep 0.1; done' - '{meeting}' {self.name}"
        return spawn(self.images.command("-q", *place.words, "--retry-lock", PATIENCE, "backup", "vg0/data", "--host", self.name,
                                         "--hook-before", wait, "--hook-after", "true", "--hook-deadline", f"{PATIENCE}s"))


def at_once(place, hosts, meeting):
    """All back up, and one more checks, before, between or after them as the locks have it."""
    meeting.mkdir()
    running = {host.name: host.start(place, meeting) for host in hosts}
    running["check"] = spawn([RESPALDO, *place.words, "--retry-lock", PATIENCE, "check"])
    for name, process in running.items():
        said = process.communicate(timeout=PATIENCE)[1]
        need(process.returncode == 0, f"{name}: exit {process.returncode}: {said}")
    need(len(list(meeting.iterdir())) == HOSTS, "not all met")


def require_whole(place, hosts, which):
    listed = sorted(place.backups(), key=lambda b: b["time"])
    for host in hosts:
        mine = [b for b in listed if b["hostname"] == host.name]
        place.respaldo("-q", "restore", f"{mine[which]['id']}:vg0/data", "--to-file", host.work / "back")
        need(file_sum(host.work / "back") == host.expected[which], f"{host.name} got other bytes back")
        (host.work / "back").unlink()


def stored(ceph):
    """Bytes of all objects in the bucket."""
    sizes, token = [], ""
    while True:
        status, text = ceph.request("GET", "/hosts", f"{token}list-type=2")
        need(status == 200, f"listing the bucket: {status} {text}")
        sizes += [int(part.split("<", 1)[0]) for part in text.split("<Size>")[1:]]
        if "<NextContinuationToken>" not in text:
            return sum(sizes)
        next_token = text.split("<NextContinuationToken>")[1].split("<")[0]
        token = f"continuation-token={urllib.parse.quote(html.unescape(next_token), safe='')}&"


def main():
    with folder() as work, servers.s3() as ceph:
        ENV.update(ceph.environment())
        place = Place(f"s3:{ceph.url}/hosts", ["--no-cache"])
        place.respaldo("init")
        common = random_bytes(COMMON * MIB)
        hosts = [Host(work, number, common) for number in range(HOSTS)]
        at_once(place, hosts, work / "first")
        for host in hosts:
            host.change()
        at_once(place, hosts, work / "second")
        listed = place.backups()
        need(len(listed) == 2 * HOSTS and {b["hostname"] for b in listed} == {h.name for h in hosts}, f"listed: {listed}")
        require_whole(place, hosts, 0)
        before = stored(ceph)
        place.respaldo("forget", "--group-by", "host", "--keep-last", "1")
        place.respaldo("prune", "--max-unused", "0")
        left = place.backups()
        need(len(left) == HOSTS and {b["hostname"] for b in left} == {h.name for h in hosts}, f"forget left {left}")
        require_whole(place, hosts, -1)
        place.respaldo("check", "--read-data")
        place.restic("check", "--read-data")
        after, whole = stored(ceph), HOSTS * (COMMON + OWN + CHANGED) * MIB
        once = (COMMON + HOSTS * (OWN + CHANGED)) * MIB
        print(f"{HOSTS} hosts hold {whole / MIB:.0f} MiB, {once / MIB:.0f} MiB when each byte is counted once; stored: "
              f"{before / MIB:.1f} MiB before, {after / MIB:.1f} MiB after forget and prune")
        need(once * 0.99 <= after <= once * 1.1, "what the hosts have in common is not stored once")


if __name__ == "__main__":
    main()
