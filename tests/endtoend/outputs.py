"""Where a command writes to: closed descriptors, readers who take nothing, files that are replaced."""
from common import *


def main():
    with folder() as work:
        images = Images(work, "a.img", size=80 * MIB)
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "40M", "-n", "data", "vg0")
        tree = work / "tree"
        tree.mkdir()
        (tree / "file").write_bytes(random_bytes(12 * MIB))
        plain = work / "plain"
        run(["mke2fs", "-q", "-t", "ext4", "-d", tree, plain, "40M"])
        with images.activated() as point:
            write_at(point / "vg0/data", 0, plain.read_bytes())
        repository = work / "repository"
        run([RESPALDO, "-r", repository, "init"])
        images("-q", "-r", repository, "backup", "vg0/data")
        words = [RESPALDO, "-r", repository]
        image = plain.read_bytes()

        def shell(command, redirect):
            return subprocess.run(["sh", "-c", f'"$@" {redirect}', "sh", *map(str, command)], env=ENV, stdout=subprocess.PIPE)

        # What goes into the background fails in JSON, too.
        for command in ([*words, "--json", "mount", work / "missing"], images.command("--json", "activate", work / "missing")):
            ended = run(command, expect=1)
            need(json.loads(ended.stderr.splitlines()[-1])["event"] == "error", ended.stderr)

        # Messages do not end up in a file that got a closed descriptor's number.
        for closed in ("0<&-", "2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"):
            out = work / "closed"
            shell([*words, "--json", "restore", "latest", "--to-file", out], closed)
            need(out.read_bytes() == image, f"{closed}: the image has other bytes in it")
            out.unlink()
            shell([*words, "--json", "export", "latest", "--tar", out], closed)
            need("file" in run(["tar", "tf", out]).stdout, f"{closed}: the archive has other bytes in it")
            out.unlink()
            shell(images.command("--json", "dump", "vg0/data", "-o", out), closed)
            need(out.read_bytes() == image, f"{closed}: the dump has other bytes in it")
            out.unlink()
        need(shell([*words, "cat", "latest", "/vg0/data/files/file"], ">&-").returncode != 0, "writing to nowhere went well")

        # A signal ends the wait for somebody who does not read.
        fifo = work / "fifo"
        os.mkfifo(fifo)
        stalled = [[*words, "export", "latest", "--raw", "-"], [*words, "cat", "latest", "/vg0/data/files/file"],
                   images.command("dump", "vg0/data"), [*words, "export", "latest", "--tar", fifo],
                   images.command("dump", "vg0/data", "-o", fifo)]
        for command in stalled:
            process = subprocess.Popen([str(word) for word in command], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if str(fifo) in map(str, command):
                # It waits for a reader as soon as it has its descriptor for the images or the lock.
                time.sleep(0.5)
            else:
                need(len(process.stdout.read1(1)) == 1, "nothing came")
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                fail(f"{command} does not end")
            need(process.returncode == 130, f"{command} ended with {process.returncode}: {process.stderr.read()}")
            process.stdout.close()
            process.stderr.close()
        need(not list((repository / "locks").iterdir()), "a lock was left behind")

        # A file in place gets the image's length.
        for length in (50 * MIB, 10 * MIB):
            out = work / "in place"
            out.write_bytes(image[: min(length, len(image))] + b"old" * ((length - len(image)) // 3))
            run([*words, "restore", "latest", "--to-file", out, "--in-place", "--verify", "-y"])
            need(out.read_bytes() == image, f"{length} bytes before: not the image")

        # What replaces a file looks like it.
        out, other = work / "own", work / "other name"
        out.write_bytes(b"old")
        os.chown(out, 1234, 567)
        out.chmod(0o660)
        os.setxattr(out, "user.note", b"kept")
        os.link(out, other)
        said = run([*words, "restore", "latest", "--to-file", out, "-y"]).stderr
        need("1 other name" in said, f"the other name is not told: {said}")
        found = out.stat()
        need((found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 567, 0o660), f"it has become {found}")
        need(os.getxattr(out, "user.note") == b"kept", "the attribute is gone")
        need(out.read_bytes() == image and other.read_bytes() == b"old", "not the image, or not the old one")


main()
