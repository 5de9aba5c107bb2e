"""Images that another program uses: a virtual machine, a loop device, a tool that knows nothing of locks. Nothing torn is saved,
and nothing is written under a mount."""
import fcntl
import struct

from common import *

OFD_SETLK = 37  # F_OFD_SETLK
LOCKED = 11
# A virtual machine as a process of its own.
HOLDER = """import fcntl, os, struct, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
open(sys.argv[2], "x").close()
time.sleep(600)"""
CLAIMED = "volume vg0/root is open or mounted"


class Disk(Images):
    def __init__(self, work):
        super().__init__(work, "disk.img", size=160 * MIB)
        self.work, self.image, self.repository = work, self.paths[0], work / "repository"
        self.lvm("vgcreate", "-qq", "vg0", self.image)
        for name in ("root", "var"):
            self.lvm("lvcreate", "-qq", "-n", name, "-L", "40M", "vg0")
        with self.activated() as point:
            run(["mkfs.ext4", "-q", "-F", point / "vg0/root"])
            write_at(point / "vg0/var", 0, random_bytes(20 * MIB))
        self("-q", "-r", self.repository, "init")

    def backup(self, *words, **kwargs):
        return self("-q", "-r", self.repository, "backup", *words, **kwargs)

    def backup_command(self, *words):
        return self.command("-q", "-r", self.repository, "backup", *words)

    def restore(self, *words, **kwargs):
        return self("-q", "-r", self.repository, "restore", "latest:vg0/root", "--to", "vg0/root", "--yes", *words, **kwargs)

    def refused(self, words, *command, code=LOCKED):
        result = self(*command, expect=code)
        need(words in result.stderr, f"{command}: does not say '{words}': {result.stderr}")

    def need_not_overwritten(self, words):
        for command in (["restore", "latest:vg0/root", "--to-file"], ["export", "latest:vg0/root", "--raw"]):
            result = run([RESPALDO, "-r", self.repository, *command, self.image, "--yes"], expect=LOCKED)
            need(words in result.stderr, f"{command}: {result.stderr}")

    def scribble(self):
        write_at(self.image, 120 * MIB, random_bytes(4096))


@contextlib.contextmanager
def qemu(image, *locked):
    """Locks bytes as QEMU does: 100 + what it does, 200 + what it lets nobody else do."""
    fd = os.open(image, os.O_RDWR)
    try:
        for byte in locked:
            fcntl.fcntl(fd, OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
        yield
    finally:
        os.close(fd)


def written_while_read(work):
    disk = Disk(work)
    hold = work / "hold"
    for words in (["vg0/root", "vg0/var"], ["vg0/root", "vg0/var", "--keep-base"]):
        with held(disk.backup_command(*words), "snapshots watched", hold) as backup:
            disk.scribble()
            hold.unlink()
            _, error = backup.communicate(timeout=300)
        need(backup.returncode == LOCKED, f"{words}: exit code {backup.returncode}: {error}")
        need("disk.img was written to while it was read: nothing was saved" in error, f"not told: {error}")
        need(not backups(disk.repository), f"{words}: a torn backup is listed")
    # Nothing was changed under the other program; the next run takes away what had to stay.
    left = disk.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
    need(left.count("respaldo_") == 2, f"the snapshots of the run: {left}")
    disk.backup("vg0/root", "vg0/var")
    left = disk.lvm("lvs", "--noheadings", "-o", "lv_name").stdout
    need("respaldo_" not in left, f"left behind: {left}")
    # What a backup writes itself, for its bases, disturbs none.
    for _ in range(3):
        disk.backup("vg0/root", "vg0/var", "--keep-base")
    need(len(backups(disk.repository)) == 4, "the backups that nobody disturbed")
    # Two who read do not see each other as a danger.
    with held(disk.backup_command("vg0/root"), "snapshots watched", hold) as backup:
        disk.backup("vg0/root")
        disk.sum_of("vg0/var")
        hold.unlink()
        _, error = backup.communicate(timeout=300)
    need(backup.returncode == 0, f"beside another reader: {error}")
    dump = spawn(disk.command("dump", "vg0/var"), stdout=subprocess.PIPE, errors="replace")
    dump.stdout.read(MIB)
    disk.scribble()
    _, error = dump.communicate(timeout=300)
    need(dump.returncode == LOCKED and "vg0/var were written to while it was read" in error, f"dump: {dump.returncode}: {error}")


def inside_a_volume(work):
    """An image inside a volume of an activation, which others write through the activation, too."""
    outer = Disk(work)
    with outer.activated() as point:
        disk = point / "vg0/var"
        command = [RESPALDO, "--disk", disk]
        run([*command, "lvm", "vgcreate", "-qq", "vg1", disk])
        run([*command, "lvm", "lvcreate", "-qq", "-n", "data", "-L", "8M", "vg1"])
        command += ["-q", "-r", outer.repository, "backup", "vg1/data"]
        run(command)
        hold = work / "hold"
        for write in (lambda: write_at(disk, 30 * MIB, b"x"),
                      lambda: run(["fallocate", "--punch-hole", "--offset", 30 * MIB, "--length", MIB, disk])):
            with held(command, "snapshots watched", hold) as backup:
                write()
                hold.unlink()
                _, error = backup.communicate(timeout=300)
            need(backup.returncode == LOCKED and "var was written to while it was read" in error, f"{backup.returncode}: {error}")
        with held(command, "snapshots watched", hold) as backup:
            write_at(point / "vg0/root", 30 * MIB, b"x")
            hold.unlink()
            _, error = backup.communicate(timeout=300)
        need(backup.returncode == 0, f"beside a write to another volume: {error}")
    need(len(backups(outer.repository)) == 2, "backups")


def virtual_machine(work):
    disk = Disk(work)
    disk.backup("vg0/root")
    (work / "point").mkdir()
    with qemu(disk.image, 100, 101, 103, 201, 203):
        for command in (["-r", disk.repository, "backup", "vg0/root"], ["dump", "vg0/root", "-o", work / "dump"],
                        ["-r", disk.repository, "restore", "latest:vg0/root", "--to", "vg0/root", "--yes"],
                        ["activate", work / "point"]):
            disk.refused("disk.img is in use by another program", *command)
        disk.need_not_overwritten("disk.img is in use by another program")
        disk("layout")
        need("root" in disk.lvm("lvs").stdout, "lvs")
    # A hook may end it: nothing before asks for a disk that nobody uses.
    ready = work / "ready"
    holder = spawn([sys.executable, "-c", HOLDER, disk.image, ready])
    try:
        while not ready.exists():
            need(holder.poll() is None, "the program with the image ended")
            time.sleep(0.02)
        disk.refused("disk.img is in use by another program", "-r", disk.repository, "backup", "vg0/root")
        stop = f"kill {holder.pid}; while test -e /proc/{holder.pid}/fd/0; do sleep 0.02; done"
        disk.backup("vg0/root", "--hook-before", f'sh -c "{stop}"', "--hook-after", "true")
    finally:
        holder.kill()
        holder.wait()
    with qemu(disk.image, 100, 201, 203):  # it only reads
        disk.backup("vg0/root")
        result = disk.restore(expect=LOCKED)
        need("disk.img is in use by another program" in result.stderr, result.stderr)
    disk.restore()
    need(len(backups(disk.repository)) == 3, "backups")


def activation(work):
    """A restore writes into no volume that is mounted or open in an activation, and nobody opens it meanwhile."""
    disk = Disk(work)
    disk.backup("vg0/root")
    hold = work / "hold"
    with disk.activated() as point:
        volume = point / "vg0/root"
        disk.need_not_overwritten(f"disk.img is served at {point}")
        for words in ([], ["--in-place"]):
            with open(volume, "rb"):
                result = disk.restore(*words, expect=LOCKED)
                need(CLAIMED in result.stderr, f"{words}: {result.stderr}")
        mount = work / "mounted"
        mount.mkdir()
        run(["fuse2fs", volume, mount, "-o", "rw,fakeroot"])
        try:
            (mount / "kept").write_text("kept")
            result = disk.restore(expect=LOCKED)
            need(CLAIMED in result.stderr, f"under a mount: {result.stderr}")
        finally:
            run(["fusermount3", "-u", mount])
        run(["e2fsck", "-fn", volume])
        need(run(["debugfs", "-R", "cat kept", volume]).stdout == "kept", "the mounted volume was written")
        write_at(volume, 20 * MIB, random_bytes(MIB))
        disk.restore()
        disk.restore("--in-place", "--verify")
        # Held where it asks, with the volume open.
        command = disk.command("-r", disk.repository, "restore", "latest:vg0/root", "--to", "vg0/root")
        main, side = os.openpty()
        asking = spawn(command, stdin=side, stdout=side, stderr=side)
        os.close(side)
        said = b""
        while b"overwrite vg0/root" not in said:
            said += os.read(main, 4096)
        try:
            open(volume, "rb").close()
            fail("a volume that is being restored can be opened")
        except OSError as error:
            need(error.errno == 16, f"opening it: {error}")
        need("a restore writes it" in disk.restore(expect=LOCKED).stderr, "a second restore")
        os.write(main, b"no\n")
        need(asking.wait(timeout=60) == 1, "the answer")
        os.close(main)
        disk.restore()
    disk.restore()


def loop_device(work):
    disk = Disk(work)
    disk.backup("vg0/root")
    loop = run(["losetup", "--find", "--show", disk.image], expect=None)
    if loop.returncode != 0:
        print(f"no loop devices here: {loop.stderr.strip()}")
        return
    device = loop.stdout.strip()
    try:
        result = disk.restore(expect=LOCKED)
        need(f"disk.img is in use as {device}" in result.stderr, result.stderr)
        disk.backup("vg0/root")  # nobody can be writing
        # As a device: what somebody has claimed is looked at, but not backed up.
        of_device = [RESPALDO, "--disk", device]
        run(of_device + ["-q", "-r", disk.repository, "backup", "vg0/root"])
        claim = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            result = run(of_device + ["-q", "-r", disk.repository, "backup", "vg0/root"], expect=LOCKED)
            need(f"{device} is in use" in result.stderr, result.stderr)
            need("root" in run(of_device + ["lvm", "lvs"]).stdout, "lvs")
            run(of_device + ["layout"])
        finally:
            os.close(claim)
        hold = work / "hold"
        with held(of_device + ["-q", "-r", disk.repository, "backup", "vg0/root"], "snapshots watched", hold) as backup:
            write_at(device, 120 * MIB, random_bytes(4096))
            hold.unlink()
            _, error = backup.communicate(timeout=300)
        need(backup.returncode == LOCKED and f"{device} was written to" in error, f"a device: {backup.returncode}: {error}")
    finally:
        run(["losetup", "--detach", device])
    need(len(backups(disk.repository)) == 3, "backups")
    disk.restore()
    # Mounted, as some do it without LVM: the volume is the first on the disk.
    mount = work / "mounted"
    mount.mkdir()
    if run(["mount", "-o", f"loop,offset={MIB},sizelimit={40 * MIB}", disk.image, mount], expect=None).returncode != 0:
        print("nothing can be mounted here")
        return
    try:
        for command in ([*disk.backup_command("vg0/root")], disk.command("lvm", "lvremove", "-y", "vg0/var")):
            result = run(command, expect=None)
            need(result.returncode in (LOCKED, 5), f"{command}: exit code {result.returncode}")
            need(f"which is mounted on {mount}" in result.stderr, result.stderr)
        run(["mount", "-o", "remount,ro", mount])
        disk.backup("vg0/root")
        need("which is mounted on" in disk.restore(expect=LOCKED).stderr, "under a mount")
    finally:
        run(["umount", mount])
    disk.restore()


def main():
    for scenario in (written_while_read, inside_a_volume, virtual_machine, activation, loop_device):
        with folder() as work:
            scenario(work)


main()
