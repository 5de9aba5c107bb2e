#!/usr/bin/env python3
"""Makes every kind of file that a kernel can in FOLDER (a mounted filesystem): populate.py FOLDER SEED."""
import ctypes
import os
import random
import socket
import struct
import sys

root, seed = os.fsencode(sys.argv[1]), int(sys.argv[2])
choice = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)


def path(*parts):
    return os.path.join(root, *(os.fsencode(p) for p in parts))


def put(name, data=b"", mode=0o644):
    with open(path(name), "wb") as f:
        f.write(data)
    os.chmod(path(name), mode)


def tolerated(f, *args, **kwargs):
    """What a filesystem without the feature refuses."""
    try:
        f(*args, **kwargs)
        return True
    except OSError as error:
        print("not here:", f.__name__, args[:2], error)
        return False


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def acl(entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


os.makedirs(path("many"))
for i in range(3000):  # a directory with an index
    put(f"many/{i:05}-{'x' * (i % 60)}", b"%d" % i)
for i in range(0, 3000, 7):
    os.unlink(path(f"many/{i:05}-{'x' * (i % 60)}"))

sizes = [0, 1, 59, 60, 61, 100, 150, 511, 1023, 1024, 1025, 4095, 4096, 4097, 65535, 65536, 262143, 524288, 524289, 3_000_000, 12_345_678]
for size in sizes:
    put(f"size-{size}", choice.randbytes(size))
put("zeros", bytes(3 << 20))
put("half-zeros", choice.randbytes(1 << 20) + bytes(2 << 20) + choice.randbytes(12345))

with open(path("sparse"), "wb") as f:
    f.write(b"begin")
    f.seek(20 << 20)
    f.write(b"middle" * 1000)
    f.seek((60 << 20) - 3)
    f.write(b"end")
with open(path("hole-at-the-end"), "wb") as f:
    f.write(b"data" * 5000)
    f.truncate(7_654_321)
with open(path("nothing-but-a-hole"), "wb") as f:
    f.truncate((200 << 20) + 7)
put("preallocated", choice.randbytes(10000))
with open(path("preallocated"), "r+b") as f:
    if tolerated(fallocate, f.fileno(), 0, 0, 4 << 20):
        f.seek(2 << 20)
        f.write(b"in the middle of it")
put("beyond-its-end", b"short")
with open(path("beyond-its-end"), "r+b") as f:
    tolerated(fallocate, f.fileno(), 1, 0, 1 << 20)  # KEEP_SIZE
put("punched", choice.randbytes(1 << 20))
with open(path("punched"), "r+b") as f:
    tolerated(fallocate, f.fileno(), 3, 200_000, 500_000)  # PUNCH_HOLE
# Fragments: two files written in turns.
with open(path("fragment-a"), "wb") as a, open(path("fragment-b"), "wb") as b:
    for i in range(60):
        for f in (a, b):
            f.write(choice.randbytes(7000))
            f.flush()
            os.fsync(f.fileno())

for mode in (0o4755, 0o2755, 0o1777, 0o000, 0o640):
    put(f"mode-{mode:o}", b"mode", mode)
put("owned", b"x")
os.chown(path("owned"), 70000, 4_000_000_000)
os.mkfifo(path("fifo"), 0o620)
os.mknod(path("null"), 0o20666, os.makedev(1, 3))
os.mknod(path("block"), 0o60660, os.makedev(259, 65536 + 7))
s = socket.socket(socket.AF_UNIX)
os.chdir(root)
s.bind("socket")
os.symlink("short", path("link-short"))
os.symlink("x" * 59, path("link-59"))
os.symlink("x" * 60, path("link-60"))
os.symlink(b"\xff\xfe/" + b"y" * 900, path("link-long"))
os.symlink("target \n\t\"quoted\"", path("link-odd"))
put("hard-1", b"linked")
os.makedirs(path("sub/deeper"))
os.link(path("hard-1"), path("sub/deeper/hard-2"))
os.link(path("hard-1"), path("another-hard"))
os.link(path("link-short"), path("sub/link-short-too"))
for name in (b"latin-\xe9\xff", b"new\nline", b"tab\there", b"\"quotes\" and \\back\\slashes", b" ", b"-dash", "ünïcödé ♥".encode(), b"\x01\x7f", b"<a&b>",
             b"n" * 255):
    with open(os.path.join(root, name), "wb") as f:
        f.write(name)

put("attributed", b"has attributes")
os.setxattr(path("attributed"), "user.short", b"value")
os.setxattr(path("attributed"), "user.empty", b"")
os.setxattr(path("attributed"), "user.binary", bytes(range(256)))
os.setxattr(path("attributed"), "trusted.secret", b"root only")
tolerated(os.setxattr, path("attributed"), "user.large", choice.randbytes(3000))
put("capable", b"#!", 0o755)
os.setxattr(path("capable"), "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
users = acl([(1, 6, 0xffffffff), (2, 7, 1000), (4, 4, 0xffffffff), (8, 5, 33), (16, 7, 0xffffffff), (32, 0, 0xffffffff)])
put("listed", b"acl")
tolerated(os.setxattr, path("listed"), "system.posix_acl_access", users)
os.makedirs(path("inherits"))
tolerated(os.setxattr, path("inherits"), "system.posix_acl_default", users)
put("inherits/child", b"inherited")
for i in range(40):  # many files that share one block of attributes
    put(f"many/shared-{i}", b"")
    os.setxattr(path(f"many/shared-{i}"), "user.shared", b"the same " * 30)

for number, name in enumerate(sorted(os.listdir(root))):
    when = choice.choice([0, 1, 1_000_000_000_123_456_789, 2_147_483_647_999_999_999, -1_000_000_000, -86400_000_000_000])
    if seed % 2 == 0:  # inodes that have room for it
        when = choice.choice([when, 4_102_444_800_000_000_001, 9_000_000_000_500_000_000])
    else:
        when = when // 1_000_000_000 * 1_000_000_000
    os.utime(os.path.join(root, name), ns=(when + 7 * 10**9, when), follow_symlinks=False)
os.utime(root, ns=(3_000_000_000, 2_000_000_000))
os.sync()
