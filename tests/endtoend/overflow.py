"""The howto's trap: a COW store of 10 GiB on an origin of 15 GiB works until it overflows. Here at 1:512 (20 MiB on
30 MiB), and with the howto's own figures for what needs no writing."""
from common import *


def literal_figures(work):
    images = Images(work, "big.img", size=40 << 30)
    images.lvm("vgcreate", "server1", images.paths[0])
    images.lvm("lvcreate", "-L", "15G", "-n", "root", "server1")
    images.lvm("lvcreate", "-L10G", "-s", "-n", "rootsnapshot", "/dev/server1/root")
    shown = images.lvm("lvdisplay", "/dev/server1/rootsnapshot").stdout
    need("COW-table size         10.00 GiB" in shown, shown)
    need("LV Size                15.00 GiB" in shown, shown)
    images.paths[0].unlink()


def main():
    with folder() as work:
        literal_figures(work)
        images = Images(work, "a.img")
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "30M", "-n", "root", "vg0")
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        with images.activated() as point:
            write_at(point / "vg0/root", 0, random_bytes(30 * MIB))
            before = file_sum(point / "vg0/root")
            images.lvm("lvcreate", "-L", "20M", "-s", "-n", "snap", "vg0/root")
            write_at(point / "vg0/root", 0, random_bytes(8 * MIB))
            need(file_sum(point / "vg0/snap") == before, "the snapshot does not show the old bytes")
            images("-q", "-r", repository, "backup", "--from-snapshot", "vg0/snap")
            need(len(backups(repository)) == 1, "the backup of a healthy snapshot is not listed")
            # As long as the group has room, it can be extended. From here on it has none.
            need("extended vg0/snap by 4.00 MiB" in images("snapshot", "extend", "vg0/snap", "--by", "4M").stdout, "extend")
            need(file_sum(point / "vg0/snap") == before, "an extended snapshot does not show the old bytes")
            images.lvm("lvcreate", "-l", "100%FREE", "-n", "filler", "vg0")

            # It overflows while a backup has it open.
            with held(images.command("-q", "-r", repository, "backup", "--from-snapshot", "vg0/snap"), "snapshots watched",
                      work / "hold") as slow:
                wanted = random_bytes(22 * MIB)
                write_at(point / "vg0/root", 8 * MIB, wanted)
            error = slow.communicate(timeout=600)[1]
            need(slow.returncode == 21, f"a backup of an overflowing snapshot ended with {slow.returncode}: {error}")
            need("snap" in error, f"the error does not name the snapshot: {error}")
            need(len(backups(repository)) == 1, "a backup of a dead snapshot is listed")

            [told] = json.loads(images("--json", "snapshot", "list").stdout)
            need(not told["cow"]["valid"] and "overflowed" in told["problem"], f"a dead snapshot is listed as: {told}")
            result = run(images.command("snapshot", "watch", "vg0/snap"), expect=21)
            need("invalid" in result.stderr and "nothing was saved" not in result.stderr, result.stderr)

            # The origin has every byte; the snapshot is dead and says so.
            with open(point / "vg0/root", "rb") as f:
                f.seek(8 * MIB)
                need(f.read(22 * MIB) == wanted, "the origin lost bytes to the overflow")
            result = run(images.command("-r", repository, "backup", "--from-snapshot", "vg0/snap"), expect=None)
            need(result.returncode in (21, 1), f"a dead snapshot was backed up: {result.returncode} {result.stderr}")
        result = run(images.command("dump", "vg0/snap", "-o", work / "out"), expect=None)
        need(result.returncode == 21 and not (work / "out").exists(), f"{result.returncode} {result.stderr}")
        need("100.00" in images.lvm("lvs", "-o", "snap_percent", "vg0/snap").stdout, "lvs does not show a full store")
        result = run(images.command("lvm", "lvconvert", "--merge", "vg0/snap"), expect=5)
        images.lvm("lvremove", "-f", "vg0/snap")
        images.lvm("lvcreate", "-L", "20M", "-n", "more", "vg0")
        restic(repository, "check", "--read-data")

        # A running volume: respaldo's own snapshot is too small, and dies during the backup.
        with images.activated() as point:
            with held(images.command("-q", "-r", repository, "backup", "vg0/root", "--cow", "4M"), "snapshots watched",
                      work / "hold") as own:
                write_at(point / "vg0/root", RANDOM.randrange(22) * MIB, random_bytes(8 * MIB))
            error = own.communicate(timeout=600)[1]
            need(own.returncode == 21, f"a backup whose snapshot overflowed ended with {own.returncode}: {error}")
            need(len(backups(repository)) == 1, "a backup whose snapshot overflowed is listed")
            left = images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
            need("respaldo" not in left, f"a snapshot was left behind: {left}")
        restic(repository, "check", "--read-data")
        print("overflow: the origin is whole, nothing wrong is listed")


main()
