#!/usr/bin/env python3
"""Disk images that were damaged, or made by somebody who means harm, beside every command that reads them.

images.py RESPALDO [--rounds N] [--seed N] [--disks IMG...]

Small images are made with RESPALDO itself; --disks adds a set of others (never changed: copies are). Each round
damages a copy: bytes at random, texts of groups with absurd numbers and correct checksums, ends cut off. A command may
refuse, but must end in time, with a documented exit code, a reason, and no word of a bug; a sanitizer may not speak.
"""
import argparse
import os
import pathlib
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

DOCUMENTED = {0, 1, 2, 3, 10, 11, 12, 20, 21}
ABSURD = [0, 1, 7, 2**31, 2**32 - 1, 2**32, 2**40, 2**52, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1]
MAGIC = b"\x20\x4c\x56\x4d\x32\x20\x78\x5b\x35\x41\x25\x72\x30\x4e\x2a\x3e"
SECONDS = 120


def crc(data):
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


class Failure(Exception):
    pass


class Program:
    def __init__(self, path, folder):
        self.path, self.folder, self.runs = path, folder, 0
        with open(path, "rb") as file:
            self.sanitized = b"__asan_init" in file.read()

    def limit(self):
        os.nice(5)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not self.sanitized:
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    def __call__(self, disks, *words, expect=None, check=True):
        command = [self.path]
        for disk in disks:
            command += ["--disk", str(disk)]
        command += [str(word) for word in words]
        environment = dict(os.environ, RESPALDO_PASSWORD="x", ASAN_OPTIONS="detect_leaks=0:max_allocation_size_mb=1024",
                           UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        self.runs += 1
        try:
            done = subprocess.run(command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS,
                                  preexec_fn=self.limit, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{' '.join(command)}: no end after {SECONDS} s") from error
        said = done.stderr.decode(errors="replace")
        wrong = None
        if done.returncode not in DOCUMENTED:
            wrong = f"ended with {done.returncode}"
        elif "Sanitizer" in said or "runtime error" in said or "this is a bug" in said or "out of memory" in said:
            wrong = "said what must not be said"
        elif done.returncode and not said and not done.stdout:
            wrong = "gave no reason"
        elif b"\x1b" in done.stdout[: 1 << 20] and "dump" not in words:
            wrong = "wrote control characters"
        elif expect is not None and done.returncode not in expect:
            wrong = f"ended with {done.returncode}, not {expect}"
        if wrong and check:
            raise Failure(f"{' '.join(command)}: {wrong}\n{said[-6000:]}")
        return done


def make_images(program, folder):
    """Two PVs: linear and striped volumes, a snapshot that holds changes, a second group."""
    disks = [folder / "a.img", folder / "b.img"]
    for disk in disks:
        with open(disk, "wb") as file:
            file.truncate(24 << 20)
    ok = lambda *words: program(disks, *words, expect={0})
    for disk in disks:
        ok("lvm", "pvcreate", disk)
    ok("lvm", "vgcreate", "-s", "1M", "vg0", *disks)
    ok("lvm", "lvcreate", "-l", "6", "-n", "root", "vg0")
    ok("lvm", "lvcreate", "-l", "4", "-i", "2", "-n", "wide", "vg0")
    ok("lvm", "lvcreate", "-s", "-l", "3", "-n", "snap", "vg0/root")
    repository = folder / "repo"
    ok("-r", repository, "init")
    ok("-r", repository, "backup", "vg0/root")
    # Something to read: the origin's changes are in the snapshot.
    with open(folder / "content", "wb") as file:
        file.write(random.Random(5).randbytes(6 << 20))
    return disks, repository


def texts(image):
    """Where the committed texts lie: (position of the header, position of the text, size)."""
    found = []
    at = image.find(MAGIC, 0, 2 << 20)
    while at >= 0:
        head = at - 4
        offset, size = struct.unpack_from("<QQ", image, head + 40)
        if 512 <= offset and size and head + offset + size <= len(image):
            found.append((head, head + offset, size))
        at = image.find(MAGIC, at + 1, 2 << 20)
    return found


def replace_text(image, head, text):
    """The group's text becomes `text`, with all checksums as they should be."""
    data = text if text.endswith(b"\0") else text + b"\0"
    image[head + 512 : head + 512 + len(data)] = data
    struct.pack_into("<QQII", image, head + 40, 512, len(data), crc(data), 0)
    struct.pack_into("<I", image, head, crc(bytes(image[head + 4 : head + 512])))


def flip_bytes(images, dice):
    image = dice.choice(images)
    # Half of them where structures are.
    used = [at for at in range(0, len(image), 4096) if any(image[at : at + 4096])] or [0]
    for _ in range(dice.choice([1, 4, 32])):
        at = min(dice.choice(used) + dice.randrange(4096), len(image) - 1)
        image[at] = dice.randrange(256) if dice.random() < 0.5 else image[at] ^ 1 << dice.randrange(8)
    return "bytes at random"


def change_text(images, dice):
    """One field of the text becomes something absurd, in one copy of it or in all."""
    with_text = [image for image in images if texts(image)]
    if not with_text:
        return "nothing"
    head, at, size = texts(with_text[0])[0]
    text = bytes(with_text[0][at : at + size]).rstrip(b"\0")
    what = dice.choice(["number", "number", "number", "name", "status", "cut", "twice", "swap"])
    if what == "number":
        numbers = list(re.finditer(rb"(?<==)\s*-?\d+|(?<=, )\d+", text))
        hit = dice.choice(numbers)
        text = text[: hit.start()] + b" %d" % dice.choice(ABSURD) + text[hit.end() :]
    elif what == "name":
        hit = dice.choice(list(re.finditer(rb'"[^"]*"', text)))
        other = dice.choice([b'""', b'"pv0"', b'"pv1"', b'"root"', b'"../../x"', b'"%s"' % (b"x" * 5000), b'"\x1b[2J"',
                             b'"thin"', b'"raid5"', b'"snapshot"', b'"striped"', b'"cache"'])
        text = text[: hit.start()] + other + text[hit.end() :]
    elif what == "status":
        text = text.replace(b'"VISIBLE"', b'"EXPORTED", "PVMOVE", "LOCKED"', 1)
    elif what == "cut":
        text = text[: dice.randrange(len(text))]
    elif what == "twice":
        hit = dice.choice(list(re.finditer(rb"\n", text)))
        text = text[: hit.start()] + text[hit.start() - dice.randrange(1, 400) :]
    else:
        a, b = sorted(dice.sample(list(re.finditer(rb"\d+", text)), 2), key=lambda m: m.start())
        text = text[: a.start()] + b.group() + text[a.end() : b.start()] + a.group() + text[b.end() :]
    for image in with_text:
        for head, _, _ in texts(image):
            if 512 + len(text) < 900 << 10:
                replace_text(image, head, text)
    return f"text: {what}"


def cut_end(images, dice):
    image = dice.choice(images)
    del image[dice.choice([0, 1, 511, 512, 4096, 5000, 1 << 20, (1 << 20) + 1, len(image) // 2, len(image) - 1]) :]
    return "end cut off"


def flip_label(images, dice):
    """Absurd numbers in a label or an area's header, with their checksums corrected."""
    image = dice.choice(images)
    if len(image) < 1 << 20:
        return "nothing"
    value = dice.choice(ABSURD) & (2**64 - 1)
    if dice.random() < 0.5:
        struct.pack_into("<Q", image, 512 + dice.randrange(64, 200, 8), value)
        struct.pack_into("<I", image, 512 + 16, crc(bytes(image[512 + 20 : 1024])))
        return "label"
    for head, _, _ in texts(image)[:1]:
        struct.pack_into("<Q", image, head + dice.choice([24, 32, 40, 48, 56, 64, 72]), value)
        struct.pack_into("<I", image, head, crc(bytes(image[head + 4 : head + 512])))
    return "area header"


DAMAGES = [flip_bytes, flip_bytes, change_text, change_text, change_text, cut_end, flip_label]


def read_everything(program, disks, folder, dice):
    program(disks, "layout")
    program(disks, "layout", "--json")
    program(disks, "lvm", "lvs", "-a")
    program(disks, "lvm", "pvs")
    program(disks, "lvm", "vgs")
    names = volumes(program, disks)
    chosen = dice.sample(names, min(4, len(names)))
    for name in chosen:
        program(disks, "dump", name, "-o", folder / "dumped")
        (folder / "dumped").unlink(missing_ok=True)
    if chosen and dice.random() < 0.5:
        program(disks, "-r", folder / "backups", "backup", chosen[0], "--raw")


def volumes(program, disks):
    done = program(disks, "lvm", "lvs", "--noheadings", "-o", "vg_name,lv_name")
    words = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
    return ["/".join(line[:2]) for line in words if len(line) >= 2]


def damaged_rounds(program, originals, folder, rounds, seed):
    contents = [pathlib.Path(disk).read_bytes() for disk in originals]
    for number in range(rounds):
        dice = random.Random(f"{seed}/{number}")
        images = [bytearray(content) for content in contents]
        told = [dice.choice(DAMAGES)(images, dice) for _ in range(dice.choice([1, 1, 2]))]
        disks = []
        for i, image in enumerate(images):
            disks.append(folder / f"damaged{i}.img")
            disks[-1].write_bytes(image)
        try:
            read_everything(program, disks, folder, dice)
        except Failure as failure:
            raise Failure(f"round {number} of seed {seed} ({', '.join(told)}): {failure}") from failure


def handmade(program, originals, folder):
    """Cases that chance would not find."""
    contents = [bytearray(pathlib.Path(disk).read_bytes()) for disk in originals]

    def attempt(name, images):
        disks = []
        for i, image in enumerate(images):
            disks.append(folder / f"made{i}.img")
            disks[-1].write_bytes(image)
        try:
            read_everything(program, disks, folder, random.Random(1))
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from failure

    attempt("a disk given twice, so that every PV UUID is there twice", contents + contents[:1])
    attempt("one disk of two", contents[:1])
    # The same PVs under another group's UUID and the same name.
    other = [bytearray(image) for image in contents]
    for image in other:
        for head, at, size in texts(image):
            text = bytes(image[at : at + size]).rstrip(b"\0")
            group = re.search(rb'id = "([^"]+)"|id="([^"]+)"', text)
            uuid = group.group(1) or group.group(2)
            replace_text(image, head, text.replace(uuid, uuid[::-1]))
    attempt("a group's name twice", contents + other)

    def with_text(name, change):
        images = [bytearray(image) for image in contents]
        for image in images:
            for head, at, size in texts(image):
                replace_text(image, head, change(bytes(image[at : at + size]).rstrip(b"\0")))
        attempt(name, images)

    field = lambda key: re.compile(rb"\b" + key + rb"\s*=\s*\d+")
    for key in (b"extent_count", b"start_extent", b"extent_size", b"pe_count", b"pe_start", b"segment_count",
                b"stripe_count", b"stripe_size", b"chunk_size", b"dev_size", b"seqno"):
        for value in ABSURD:
            with_text(f"every {key.decode()} is {value}",
                      lambda text, k=key, v=value: field(k).sub(k + b" = %d" % v, text))
    with_text("all stripes begin at 0: volumes overlap",
              lambda text: re.sub(rb'("pv\d+"),\s*\d+', rb"\1, 0", text))
    for value in ABSURD:
        with_text(f"all stripes begin at {value}",
                  lambda text, v=value: re.sub(rb'("pv\d+"),\s*\d+', rb"\1, %d" % v, text))
    with_text("a snapshot of itself", lambda text: text.replace(b'origin = "root"', b'origin = "snap"'))
    with_text("a store that is its own origin",
              lambda text: text.replace(b'cow_store = "snap"', b'cow_store = "root"'))
    with_text("very deep sections", lambda text: text[:20] + b"a {\n" * 50000 + text[20:])
    with_text("very deep lists", lambda text: text[:20] + b"a = " + b"[" * 100000 + text[20:])


def make_repository(program, place):
    """With $QUICK_REPOSITORY its key costs little: each of thousands of runs derives it."""
    if tool := os.environ.get("QUICK_REPOSITORY"):
        subprocess.run([tool, place], env=dict(os.environ, RESPALDO_PASSWORD="x"), check=True)
    else:
        program([], "-r", place, "init", expect={0})


def main():
    options = argparse.ArgumentParser()
    options.add_argument("respaldo")
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--disks", nargs="*", default=[])
    options.add_argument("--no-handmade", action="store_true")
    given = options.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="respaldo-hostile-"))
    program = Program(os.path.abspath(given.respaldo), folder)
    try:
        disks, _ = make_images(program, folder)
        make_repository(program, folder / "backups")
        if given.disks:
            damaged_rounds(program, given.disks, folder, given.rounds, given.seed)
        else:
            if not given.no_handmade:
                handmade(program, disks, folder)
            damaged_rounds(program, disks, folder, given.rounds, given.seed)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{program.runs} runs, none went wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
