"""Parity, through the whole program: damage of every kind is healed byte for byte, or told and left as it is; restic works
beside it; killed runs are caught up with."""
import json
import signal
import time

from common import (ENV, MIB, RANDOM, RESPALDO, Images, Moments, backups, duration, file_sum, folder, kill_after, need, objects,
                    os, random_bytes, restic, run)

ROUNDS, KILLS = 6, 8


def manifest(repository):
    return {str(path.relative_to(repository)): file_sum(path) for path in sorted(repository.rglob("*"))
            if path.is_file() and path.parent.name != "locks"}


class Repository:
    def __init__(self, path):
        self.path = path

    def __call__(self, *words, **kwargs):
        return run([RESPALDO, "-r", self.path, *words], **kwargs)

    def json(self, *words, **kwargs):
        return json.loads(self("--json", *words, **kwargs).stdout)

    def packs(self):
        return sorted(path for path in (self.path / "data").rglob("*") if path.is_file())

    def sidecar(self, path):
        name = "0" * 64 if path.name == "config" else path.name
        return self.path / "parity/objects" / name[:2] / name

    def damage(self, path, kind, most):
        """`most`: bytes in one place that its parity surely brings back."""
        os.chmod(path, 0o600)
        size = path.stat().st_size
        most = min(most, size)
        with open(path, "r+b") as file:
            if kind == "flip":
                at = RANDOM.randrange(size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ RANDOM.randrange(1, 256)]))
            elif kind == "zero":
                length = RANDOM.randrange(1, most + 1)
                file.seek(RANDOM.randrange(size - length + 1))
                file.write(bytes(length))
            elif kind == "truncate":
                file.truncate(size - RANDOM.randrange(1, most + 1))
            elif kind == "extend":
                file.seek(size)
                file.write(random_bytes(RANDOM.randrange(1, 100000)))
        if kind == "lose":
            path.unlink()


def outcomes(result):
    return sorted(item["outcome"] for item in result["repaired"])


def rounds(repository, good):
    """Some of everything at once, again and again; one pack is lost each time."""
    packs, total = repository.packs(), 0
    small = [path for folder_name in ("keys", "index", "snapshots") for path in sorted((repository.path / folder_name).iterdir())]
    small.append(repository.path / "config")
    for number in range(ROUNDS):
        lost, *others = RANDOM.sample(packs, min(len(packs), 5))
        repository.damage(lost, "lose", 0)
        for path in others:
            # Four MiB: eleven codewords of 5 rows; two MiB: six of 4.
            kind = RANDOM.choice(["flip", "flip", "zero", "truncate", "extend"])
            for _ in range(5 if kind == "flip" else 1):
                repository.damage(path, kind, min(150000, path.stat().st_size // 25))
        for path in RANDOM.sample(small, 3):
            kind = RANDOM.choice(["flip", "zero", "truncate", "extend"])
            repository.damage(path, kind, 200)
        for path in RANDOM.sample(packs + small, 3):
            # Without its parity a lost configuration is beyond help.
            if path == lost or path.name == "config" or not path.exists() or manifest_of(path) != good[str(path.relative_to(repository.path))]:
                continue
            repository.damage(repository.sidecar(path), RANDOM.choice(["lose", "flip", "zero"]), 20000)
        # Nothing but the configuration and the keys stands between a user and everything.
        if number % 2 == 0:
            (repository.path / "config").unlink(missing_ok=True)
        before = manifest(repository.path)
        total += sum(1 for name in good if before.get(name) != good[name])
        result = repository.json("check", "--repair", "--read-data")
        need(result["ok"] and "beyond" not in outcomes(result), f"round {number}: {result}")
        now = manifest(repository.path)
        need(now == good, f"round {number}: not what it was: {set(now.items()) ^ set(good.items())}")
    print(f"{total} damaged files healed in {ROUNDS} rounds")


def manifest_of(path):
    return file_sum(path)


def beyond(repository, good):
    """Too much: told exactly, exit code 20, nothing else touched, nothing made worse."""
    packs = repository.packs()
    saved = {path: path.read_bytes() for path in packs}
    fine = max(packs, key=lambda path: path.stat().st_size)
    victims = [path for path in packs if path != fine]
    for path in victims:
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.write(bytes(path.stat().st_size // 2))
    repository.damage(fine, "flip", 1)
    before = manifest(repository.path)
    check = repository.json("check", "--read-data", expect=20)
    kinds = [finding["kind"] for finding in check["findings"]]
    need("can_be_healed" in kinds and "cannot_be_healed" in kinds, kinds)
    need(manifest(repository.path) == before, "a check without --repair wrote")
    result = repository.json("check", "--repair", expect=20)
    told = {item["id"] for item in result["repaired"] if item["outcome"] == "beyond"}
    healed = {item["id"] for item in result["repaired"] if item["outcome"] == "healed"}
    need(fine.name in healed and told and told | healed == {path.name for path in [*victims, fine]}, result["repaired"])
    now = manifest(repository.path)
    for name in set(now) | set(before):
        if name.rsplit("/", 1)[-1] not in healed:
            need(now.get(name) == before.get(name), f"{name} was changed")
    for path, data in saved.items():
        os.chmod(path, 0o600)
        path.write_bytes(data)
    repository("check", "--repair")
    need(manifest(repository.path) == good, "it is not as it was")


def lost_pack(repository):
    """Until it is brought back, nothing takes away what brings it back; and check leads there."""
    for words in (("update",), ("enable", "10%", "--groups", "3+1"), ("enable", "5%", "--groups", "2+1"), ("enable", "5%")):
        repository("parity", "enable", "5%", "--groups", "3+1")
        pack = RANDOM.choice(repository.packs())
        data = file_sum(pack)
        pack.unlink()
        findings = repository.json("check", expect=20)["findings"]
        warnings = [finding["kind"] for finding in findings if finding["severity"] == "warning"]
        need(warnings == ["can_be_healed"], f"one loss, and these warnings: {warnings}")
        need(not any("parity update" in finding["advice"] for finding in findings), findings)
        told = repository("--json", "parity", *words, expect=20).stdout
        need(json.loads(told)["lost"] == [pack.name], told)
        need("is lost" in repository("parity", "update", expect=20).stdout, "the loss is not told")
        repository("check", "--repair")
        need(file_sum(pack) == data, f"lost for good by parity {' '.join(words)}")
        repository("parity", "update")
        need(repository.json("parity", "status")["complete"], "update left something over")
    repository("parity", "enable", "5%", "--groups", "3+1")
    # While no index can be read, nobody knows what was removed and what was lost.
    pack = RANDOM.choice(repository.packs())
    data = file_sum(pack)
    pack.unlink()
    for index in (repository.path / "index").iterdir():
        repository.damage(index, "flip", 1)
    repository("parity", "update", expect=20)
    repository("check", "--repair")
    need(file_sum(pack) == data, "lost for good while the index was damaged")
    repository("parity", "update")
    need(repository.json("parity", "status")["complete"], "update left something over")


def giving_up(repository):
    """What parity heals is not given up."""
    good = manifest(repository.path)
    pack = RANDOM.choice(repository.packs())
    for path, kind in ((next((repository.path / "snapshots").iterdir()), "flip"), (next((repository.path / "index").iterdir()), "flip"),
                       (pack, "flip"), (pack, "lose")):
        repository.damage(path, kind, 0)
        tries = {"snapshots": [("repair", "snapshots", "--forget"), ("prune",), ("forget", "--keep-last", "1")],
                 "index": [("repair", "index"), ("repair", "snapshots", "--forget"), ("prune",)]}.get(
                     path.parent.name, [("repair", "packs", pack.name)] if kind == "flip" else
                     [("repair", "snapshots", "--forget"), ("repair", "index"), ("prune",)])
        before = manifest(repository.path)
        for words in tries:
            said = repository(*words, expect=None)
            need(said.returncode != 0 and "`respaldo check --repair`" in said.stderr, f"{words} after {kind}: {said.stdout}{said.stderr}")
            need(manifest(repository.path) == before, f"{words} changed something")
        repository("check", "--repair")
        need(manifest(repository.path) == good, f"{path} did not come back")


def beside_restic(repository):
    path = repository.path
    restic(path, "check", "--read-data")
    restic(path, "snapshots")
    restic(path, "list", "packs")
    need("already" in restic(path, "init", expect=1).stderr, "restic would make it anew")
    data = repository.path.parent / "data"
    data.write_bytes(random_bytes(3 * MIB))
    restic(path, "backup", data)
    need(not repository.json("parity", "status")["complete"], "restic's own packs have no parity yet")
    need("parity_missing" in [f["kind"] for f in repository.json("check")["findings"]], "check does not tell")
    repository("parity", "update")
    need(repository.json("parity", "status")["complete"], "update left something out")
    restic(path, "forget", "--prune", "--keep-last", "1", "--group-by", "")
    repository("parity", "update")
    need(repository.json("parity", "status")["complete"], "update left something over")
    for pack in repository.packs()[:3]:
        data = file_sum(pack)
        pack.unlink()
        repository("check", "--repair")
        need(file_sum(pack) == data, "a lost pack of restic's was not healed")
    restic(path, "check", "--read-data")


def keys(repository):
    """A removed password's key is nowhere, and does not come back."""
    new = repository.path.parent / "new"
    new.write_text("another")
    key = repository.json("key", "add", "--new-password-file", new)["id"]
    side = repository.path / "parity/objects" / key[:2] / key
    need(side.exists(), "the new key has no parity")
    repository("key", "remove", key)
    need(not side.exists(), "the removed key could be brought back")
    old = os.listdir(repository.path / "keys")
    repository("key", "passwd", "--new-password-file", new)
    ENV.update(RESPALDO_PASSWORD="another", RESTIC_PASSWORD="another")
    for name in old:
        need(not (repository.path / "parity/objects" / name[:2] / name).exists(), "the old password's key could be brought back")
    repository("check", "--repair")
    need(repository.json("parity", "status")["complete"], "changing the password left something out")
    # restic removes a backup; on request it comes back.
    snapshot = os.listdir(repository.path / "snapshots")[0]
    file = repository.path / "snapshots" / snapshot
    data = file.read_bytes()
    file.unlink()
    repository("check", "--repair")
    need(not file.exists(), "a removed backup came back by itself")
    need([item["id"] for item in repository.json("parity", "restore")] == [snapshot], "it is not offered")
    repository("parity", "restore", snapshot[:8])
    need(file.read_bytes() == data, "it did not come back")


def kills(images, repository):
    """Killed anywhere, parity can be caught up with."""
    def change():
        with images.activated() as volumes:
            with open(volumes / "vg0/root", "r+b") as volume:
                volume.seek(RANDOM.randrange(8) * MIB)
                volume.write(random_bytes(5 * MIB))

    backup = images.command("-r", repository.path, "backup", "vg0/root", "--pack-size", "4M", "--verify")
    change()
    moments, killed, amid = Moments(duration(backup)), 0, 0
    for _ in range(10 * KILLS):
        if killed >= KILLS and amid >= KILLS // 4:
            break
        change()
        before, start = objects(repository.path, "data"), time.monotonic()
        code, _, error = kill_after(backup, moments.choose())
        if code == -signal.SIGKILL:
            killed += 1
            if objects(repository.path, "data") != before:
                amid += 1
            else:
                moments.early()
        else:
            need(code == 0, f"the backup failed by itself: {error}")
            moments.done_after(time.monotonic() - start)
        repository("unlock")
        code, _, error = kill_after([RESPALDO, "-r", repository.path, "parity", "update"], moments.choose())
        need(code in (0, -signal.SIGKILL), f"parity update failed by itself: {error}")
        repository("unlock")
    need(killed >= KILLS and amid >= KILLS // 4, f"{killed} kills, {amid} of them when packs had been written")
    repository("parity", "update")
    need(repository.json("parity", "status")["complete"], "update left something out")
    result = repository.json("check", "--repair", "--read-data")
    need(result["ok"] and not result["repaired"], result)
    pack = RANDOM.choice(repository.packs())
    data = file_sum(pack)
    pack.unlink()
    repository("check", "--repair")
    need(not pack.exists() or file_sum(pack) == data, "a lost pack was not healed")


def main():
    with folder() as work:
        images = Images(work, "a.img")
        images.lvm("vgcreate", "vg0", images.paths[0])
        images.lvm("lvcreate", "-L", "24M", "-n", "root", "vg0")
        with images.activated() as volumes:
            with open(volumes / "vg0/root", "r+b") as volume:
                volume.write(random_bytes(18 * MIB))
        repository = Repository(work / "repository")
        repository("init", "--parity", "5%", "--parity-groups", "3+1")
        images("-r", repository.path, "backup", "vg0/root", "--pack-size", "4M", "--verify")
        with images.activated() as volumes:
            with open(volumes / "vg0/root", "r+b") as volume:
                volume.seek(5 * MIB)
                volume.write(random_bytes(6 * MIB))
        images("-r", repository.path, "backup", "vg0/root", "--pack-size", "4M")
        need(len(backups(repository.path)) == 2, "two backups")
        status = repository.json("parity", "status")
        need(status["enabled"] and status["complete"], status)
        sums = images.sum_of("vg0/root")
        good = manifest(repository.path)
        rounds(repository, good)
        beyond(repository, good)
        repository("restore", "latest", "--to-file", work / "back")
        need(file_sum(work / "back") == sums, "the backup is another one")
        lost_pack(repository)
        giving_up(repository)
        beside_restic(repository)
        keys(repository)
        kills(images, repository)
        repository("parity", "disable", "--yes")
        # Of those that were killed a file may be left that has no name yet.
        left = [path for path in (repository.path / "parity").rglob("*") if path.is_file() and "-tmp-" not in path.name]
        need(not left, f"parity is left: {left}")
        repository("check", "--read-data")
    print("ok")


main()
