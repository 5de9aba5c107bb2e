"""lvm verbs are killed at 50 random moments: the images stay what lvm2 accepts, and no volume changes."""
from common import *

KILLS = 50


def real_lvm2_accepts(images):
    for path in images.paths:
        for what in ("headers", "metadata"):
            result = run(["pvck", "--dump", what, path])
            # A precommit that was never committed is what lvm2 leaves as well when it is killed.
            complaints = [line for line in (result.stdout + result.stderr).splitlines() if "CHECK:" in line and "for precommit not empty" not in line]
            need(not complaints, f"pvck --dump {what}: {result.stdout}{result.stderr}")


def main():
    with folder() as work:
        images = Images(work, "a.img", "b.img")
        images.lvm("vgcreate", "vg0", *images.paths)
        images.lvm("lvcreate", "-L", "16M", "-n", "kept", "vg0")
        images.lvm("lvcreate", "-L", "16M", "-n", "origin", "vg0")
        with images.activated() as point:
            write_at(point / "vg0/kept", 0, random_bytes(16 * MIB))
            write_at(point / "vg0/origin", 0, random_bytes(16 * MIB))
        kept = images.sum_of("vg0/kept")
        whole = duration(images.command("lvm", "lvcreate", "-L", "4M", "-n", "first", "vg0"))
        killed = 0

        def volumes():
            return set(images.lvm("lvs", "--noheadings", "-o", "lv_name").stdout.split())

        for n in range(4 * KILLS):
            if killed == KILLS:
                break
            there = volumes()
            if n % 5 == 4:
                # A merge: stopped anywhere, it goes on, and ends with the snapshot's bytes.
                if "snap" not in there:
                    images.lvm("lvcreate", "-s", "-L", "12M", "-n", "snap", "vg0/origin")
                    with images.activated() as point:
                        for _ in range(20):
                            write_at(point / "vg0/origin", RANDOM.randrange(4000) * 4096, random_bytes(4096))
                wanted = images.sum_of("vg0/snap")
                words = ["lvm", "lvconvert", "--merge", "vg0/snap"]
                code, was_killed, error = kill_after(images.command(*words), RANDOM.uniform(0, whole * 3))
                need(was_killed or code == 0, error)
                if "snap" in volumes():
                    images(*words)
                need(images.sum_of("vg0/origin") == wanted, "the merged origin has other bytes than the snapshot had")
            else:
                choices = [["lvm", "lvcreate", "-L", "4M", "-n", f"new{n}", "vg0"],
                           ["lvm", "lvcreate", "-s", "-L", "4M", "-n", f"snap{n}", "vg0/kept"],
                           ["lvm", "vgcfgbackup", "-f", work / "text", "vg0"]]
                spare = sorted(name for name in there if name.startswith(("new", "snap", "first")))
                if spare:
                    choices += [["lvm", "lvremove", "-f", f"vg0/{RANDOM.choice(spare)}"]] * 3
                plain = [name for name in spare if name.startswith("new")]
                if plain:
                    choices += [["lvm", "lvextend", "-L", "+4M", f"vg0/{RANDOM.choice(plain)}"],
                                ["lvm", "lvrename", "vg0", RANDOM.choice(plain), f"new_{n}"]]
                words = RANDOM.choice(choices)
                code, was_killed, error = kill_after(images.command(*words), RANDOM.uniform(0, whole * 1.2))
                if not was_killed and code != 0 and "nsufficient" in error:
                    for name in spare:
                        images.lvm("lvremove", "-f", f"vg0/{name}", expect=None)
                else:
                    need(was_killed or code == 0, f"{words}: {error}")
            killed += was_killed
            real_lvm2_accepts(images)
            images.lvm("vgck", "vg0")
            need({"kept", "origin"} <= volumes(), "a volume is gone")
            need(images.sum_of("vg0/kept") == kept, f"a volume changed after {words}")
        need(killed == KILLS, f"only {killed} kills hit")
        print(f"{killed} kills")


main()
