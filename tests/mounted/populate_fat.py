#!/usr/bin/env python3
"""What FAT can hold: populate_fat.py FOLDER."""
import os
import random
import sys

root = sys.argv[1]
choice = random.Random(3)
os.makedirs(f"{root}/EFI/BOOT")
os.makedirs(f"{root}/deep/er/and deeper")
for name, size in [("EFI/BOOT/BOOTX64.EFI", 1_234_567), ("lower.txt", 10), ("UPPER.TXT", 11), ("Mixed.Txt", 12), ("long name with blanks.text", 4097),
                   ("ünïcödé ♥ 日本.txt", 513), ("empty", 0), ("deep/er/and deeper/file", 70_000), ("n" * 255, 1), ("large", 20_000_000)]:
    with open(f"{root}/{name}", "wb") as f:
        f.write(choice.randbytes(size))
with open(f"{root}/fragment-a", "wb") as a, open(f"{root}/fragment-b", "wb") as b:
    for i in range(40):
        for f in (a, b):
            f.write(choice.randbytes(9000))
            f.flush()
            os.fsync(f.fileno())
for i in range(500):
    with open(f"{root}/deep/{i}", "wb") as f:
        f.write(b"%d" % i)
os.chmod(f"{root}/lower.txt", 0o444)
os.utime(f"{root}/UPPER.TXT", (1_000_000_000, 1_000_000_000))
os.sync()
