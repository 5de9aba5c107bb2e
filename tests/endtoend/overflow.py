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

            # It overflows while it is read: the reader holds it in the middle of the volume.
            slow = subprocess.Popen(images.command("-q", "-r", repository, "backup", "--from-snapshot", "vg0/snap", "--threads", "1"),
                                    env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=lambda: os.nice(10))
            for _ in range(2000):
                if run(["pgrep", "-P", str(os.getpid()), "respaldo"], expect=None).returncode == 0:
                    break
            slow.send_signal(signal.SIGSTOP)
            wanted = bytes(random_bytes(22 * MIB))
            write_at(point / "vg0/root", 8 * MIB, wanted)
            slow.send_signal(signal.SIGCONT)
            error = slow.stderr.read().decode()
            code = slow.wait(timeout=600)
            need(code in (21, 1), f"a backup of an overflowing snapshot ended with {code}: {error}")
            need("snap" in error, f"the error does not name the snapshot: {error}")
            need(len(backups(repository)) == 1, "a backup of a dead snapshot is listed")

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
        restic(repository, "check", "--read-data")

        # A running volume: respaldo's own snapshot is too small, and dies during the backup.
        with images.activated() as point:
            stop = time.monotonic() + 60
            failed = False
            while time.monotonic() < stop and not failed:
                own = subprocess.Popen(images.command("-q", "-r", repository, "backup", "vg0/root", "--cow", "4M"), env=ENV,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                while own.poll() is None:
                    write_at(point / "vg0/root", RANDOM.randrange(22) * MIB, random_bytes(8 * MIB))
                failed = own.returncode == 21
                need(own.returncode in (0, 21), f"{own.returncode}: {own.stderr.read().decode()}")
            left = images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
            need("respaldo" not in left, f"a snapshot was left behind: {left}")
            need(failed, "no backup met its overflow")
        restic(repository, "check", "--read-data")
        print("overflow: the origin is whole, nothing wrong is listed")


main()
