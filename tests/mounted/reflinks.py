#!/usr/bin/env python3
"""Files that share parts of each other on a filesystem with reflinks: reflinks.py FOLDER."""
import fcntl
import os
import random
import struct
import sys

FICLONERANGE = 0x4020940D
root = sys.argv[1]
choice = random.Random(7)


def clone(source, at, length, target, to):
    fcntl.ioctl(target, FICLONERANGE, struct.pack("=qQQQ", source.fileno(), at, length, to))


with open(f"{root}/whole", "wb") as f:
    f.write(choice.randbytes(6 << 20))
os.sync()
with open(f"{root}/whole", "rb") as whole:
    with open(f"{root}/its-middle", "wb") as f:  # begins and ends inside chunks of the other
        f.write(choice.randbytes(8192))
        f.flush()
        clone(whole, 1 << 20, 3 << 20, f, 8192)
        f.seek(5 << 20)
        f.write(b"and something of its own")
    with open(f"{root}/thrice", "wb") as f:
        for i in range(3):
            clone(whole, 0, 6 << 20, f, i * (6 << 20))
    with open(f"{root}/rewritten", "w+b") as f:
        clone(whole, 0, 6 << 20, f, 0)
        f.seek(1 << 20)
        f.write(choice.randbytes(300_000))
os.sync()
