"""Repositories on a real sshd: both directions with stock restic, cut connections, strangers' keys, the cache."""
import shlex

from common import *
from sshd import Sshd


def no_ssh_left(server):
    left = subprocess.run(["pgrep", "-af", f"^ssh .*{server.folder}"], stdout=subprocess.PIPE, text=True).stdout
    need(not left, f"left behind: {left}")


class Store:
    """respaldo and restic on one repository of the server."""

    def __init__(self, server, path):
        self.server, self.path = server, path
        self.location = f"sftp:store:{path}"
        self.words = ["-r", self.location, "-o", f"sftp.args=-F '{server.config}'"]

    def __call__(self, *words, **kwargs):
        return run([RESPALDO, *self.words, *words], **kwargs)

    def restic(self, *words, **kwargs):
        command = f"ssh -F {shlex.quote(str(self.server.config))} -s store sftp"
        return run(["restic", "--no-cache", "-o", f"sftp.command={command}", "-r", self.location, *words], **kwargs)

    def backups(self):
        return json.loads(self("--json", "list").stdout)

    def back_up(self, images, *words):
        images(*self.words, "-q", "backup", "vg0/data", *words)
        return images.sum_of("vg0/data")

    def require_image(self, one, expected, work):
        self("-q", "restore", f"{one}:vg0/data", "--to-file", work / "back")
        need(file_sum(work / "back") == expected, "an image came back with other bytes")
        (work / "back").unlink()


def change(images, size):
    with images.activated() as point:
        write_at(point / "vg0/data", RANDOM.randrange(20) * MIB, random_bytes(size))


def whole_life(store, images, work):
    store("init")
    need("holds a repository already" in store("init", expect=1).stderr, "a second init does not say why not")
    change(images, 20 * MIB)
    first = store.back_up(images, "--tag", "first")
    change(images, MIB)
    second = store.back_up(images, "--tag", "second")
    one, two = (next(b["id"] for b in store.backups() if b["tags"] == [tag]) for tag in ("first", "second"))
    need("image.raw" in store("ls", "latest").stdout, "ls does not show the image")
    store.require_image(one, first, work)
    store.require_image(two, second, work)
    store("check", "--read-data")
    # Stock restic on the same repository, and we on what it did.
    store.restic("check", "--read-data")
    tree = work / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(random_bytes(3 * MIB))
    store.restic("backup", tree)
    need(len(store.backups()) == 3 and "file" in store("ls", "latest").stdout, "restic's backup is not seen")
    store.restic("forget", one, "--prune")
    store("forget", store.backups()[-1]["id"])
    store("prune", "--max-unused", "0")
    need([b["id"] for b in store.backups()] == [two], "forget and prune left something else")
    store.require_image(two, second, work)
    store.restic("check", "--read-data")
    return two, second


def made_by_restic(store, images, work):
    store.restic("init")
    store.restic("backup", work / "tree")
    sums = store.back_up(images)
    store.require_image("latest", sums, work)
    store("-q", "check", "--read-data")
    store.restic("check", "--read-data")


def the_rest_of_the_commands(store, images, work, sums):
    local = work / "local"
    run([RESPALDO, "-r", local, "init"])
    ENV["RESPALDO_FROM_PASSWORD"] = "endtoend"
    run([RESPALDO, "-r", local, *store.words[2:], "copy", "--from-repo", store.location, "latest"])
    run([RESPALDO, "-q", "-r", local, "restore", "latest:vg0/data", "--to-file", work / "copied"])
    need(file_sum(work / "copied") == sums, "a copy from there holds other bytes")
    (work / "new key").write_text("another\n")
    store("key", "add", "--new-password-file", work / "new key")
    need(len(json.loads(store("--json", "key", "list").stdout)) == 2, "the new key is not listed")
    store("-p", work / "new key", "list")
    store("unlock")
    # Parity over SFTP: a damaged pack on the server comes back.
    store("-q", "parity", "enable", "10%")
    packs = [path for path in store.path.glob("data/*/*") if path.stat().st_size > MIB]
    packs[0].chmod(0o600)
    write_at(packs[0], 1000, b"damage here")
    need(store("check", "--read-data", expect=20), "")
    store("check", "--read-data", "--repair", expect=None)
    store("check", "--read-data")
    point = work / "mounted"
    point.mkdir()
    store("mount", point)
    try:
        need(file_sum(point / "latest/vg0/data/image.raw") == sums, "the mounted image has other bytes")
    finally:
        run(["fusermount3", "-u", point])


def the_cache(store):
    cache = pathlib.Path(ENV["RESPALDO_CACHE_DIR"])
    need((cache / "CACHEDIR.TAG").exists(), "the cache has no tag")
    store("ls", "latest")
    need(list(cache.glob("*/index/*/*")) and list(cache.glob("*/snapshots/*/*")) and list(cache.glob("*/data/*/*")),
         "index, snapshots and trees are not in the cache")
    # Who looks for damage does not look into the cache; everybody else does not suffer from it.
    index = next(store.path.glob("index/*"))
    kept = index.read_bytes()
    index.chmod(0o600)
    index.write_bytes(kept[:-7] + b"garbage")
    store("ls", "latest")
    store("check", expect=20)
    store("--no-cache", "ls", "latest", expect=1)
    index.write_bytes(kept)
    for path in cache.glob("*/*/*/*"):
        path.write_bytes(b"rubbish")
    store("ls", "latest")
    run([RESPALDO, *store.words, "--cache-dir", "/dev/null/nowhere", "list"])


def strangers(store, server):
    """What ssh refuses is refused at once, in its words."""
    for hosts, identity, words in (("no_hosts", "user", "Host key verification failed"),
                                   ("changed_hosts", "user", "Host key verification failed"),
                                   ("known_hosts", "stranger", "Permission denied")):
        config = server.client(hosts, identity)
        start = time.monotonic()
        said = run([RESPALDO, "-r", store.location, "-o", f"sftp.args=-F '{config}'", "list"], expect=1).stderr
        need(words in said and "hint:" in said, f"{words} is not said: {said}")
        need("trying again" not in said, f"it was tried again in vain: {said}")
        need(time.monotonic() - start < 60, "a refusal took a minute")


def cut_connections(store, images, server):
    """Connections are cut again and again during a backup; it ends whole all the same."""
    change(images, 20 * MIB)
    expected = images.sum_of("vg0/data")
    cuts = 0
    process = subprocess.Popen(images.command(*store.words, "--limit-upload", "8192", "backup", "vg0/data", "--tag", "cut"),
                               env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and cuts < 4:
        if list(store.path.glob("data/*/*.respaldo-*")):
            cuts += server.cut() > 0
            time.sleep(0.3)
    error = process.communicate(timeout=300)[1]
    need(process.returncode == 0, f"a backup over a bad line failed: {error}")
    need(cuts > 0, "nothing was cut")
    need("trying again" in error, f"it is not said what is waited for: {error}")
    store("check", "--read-data")
    return expected


def interrupted(store, images, server):
    """Ctrl-C in mid-upload: over quickly, no lock and no backup is left."""
    change(images, 20 * MIB)
    before = len(store.backups())
    packs = set(store.path.glob("data/*/*"))
    process = subprocess.Popen(images.command(*store.words, "--limit-upload", "1024", "backup", "vg0/data"), env=ENV,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not set(store.path.glob("data/*/*")) - packs:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1]
    need(process.returncode == 130, f"Ctrl-C gave {process.returncode}: {error}")
    need(not list(store.path.glob("locks/*")), "a lock is left")
    need(len(store.backups()) == before, "an interrupted backup is listed")
    no_ssh_left(server)


def interrupted_on_a_slow_line(store, images, server):
    """Ctrl-C does not wait for the packs under way (four minutes each), and what they leave goes."""
    change(images, 20 * MIB)
    before = len(store.backups())
    words = ["-r", store.location, "-o", f"sftp.args=-F '{server.slow_client(64 << 10)}'"]
    process = subprocess.Popen(images.command(*words, "backup", "vg0/data"), env=ENV, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)

    def under_way():
        try:
            return [path for path in store.path.glob("data/*/*.respaldo-*") if path.stat().st_size > 0]
        except FileNotFoundError:
            return []  # it has its name by now

    while process.poll() is None and not under_way():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    error = process.communicate(timeout=120)[1]
    need(process.returncode == 130, f"Ctrl-C gave {process.returncode}: {error}")
    need(not list(store.path.glob("locks/*")), "a lock is left")
    need(not under_way(), "a half pack is left")
    need(len(store.backups()) == before, "an interrupted backup is listed")
    no_ssh_left(server)
    print(f"Ctrl-C on a slow line took {time.monotonic() - start:.1f} s")


def gone_server(store, server):
    """Ctrl-C ends the waiting for a server that has gone; doctor does not wait for long."""
    server.stop()
    process = subprocess.Popen([RESPALDO, *store.words, "list"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)
    line = process.stderr.readline()
    need("trying again" in line and "Connection refused" in line, f"{line}")
    process.send_signal(signal.SIGINT)
    need(process.wait(timeout=300) == 130, f"Ctrl-C gave {process.returncode}")
    found = json.loads(run([RESPALDO, *store.words, "--json", "doctor"], expect=None).stdout)
    need("Connection refused" in json.dumps(found), f"doctor does not say that it is not reachable: {found}")
    server.start()


def main():
    with folder() as work:
        ENV["RESPALDO_CACHE_DIR"] = str(work / "cache")
        server = Sshd(work / "ssh")
        try:
            images = Images(work, "a.img", size=64 * MIB)
            images.lvm("vgcreate", "vg0", images.paths[0])
            images.lvm("lvcreate", "-L", "40M", "-n", "data", "vg0")
            store = Store(server, work / "repositories" / "one")
            latest, sums = whole_life(store, images, work)
            made_by_restic(Store(server, work / "repositories" / "two"), images, work)
            the_rest_of_the_commands(store, images, work, sums)
            the_cache(store)
            strangers(store, server)
            sums = cut_connections(store, images, server)
            store.require_image("latest", sums, work)
            interrupted(store, images, server)
            interrupted_on_a_slow_line(store, images, server)
            gone_server(store, server)
            store.require_image(latest, store_sums(store, latest, work), work)
            no_ssh_left(server)
        finally:
            server.cut()
            server.stop()


def store_sums(store, one, work):
    """By restic."""
    store.restic("restore", one, "--target", work / "restic", "--include", "/vg0/data/image.raw")
    return file_sum(work / "restic/vg0/data/image.raw")


if __name__ == "__main__":
    main()
