#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets of src/lvm and src/fs/part under tests/fuzz/corpus/. Needs sfdisk."""
import pathlib
import struct
import subprocess
import tempfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
DATA = HERE.parent / "lvm" / "data"


def lvm_crc(data):
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def seed(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def group(lvs, seqno=1):
    text = f'vg{{id="{0:0>32}"\nseqno={seqno}\nformat="lvm2"\nstatus=["READ","WRITE"]\nextent_size=8\nphysical_volumes{{\n'
    for i in range(2):
        text += f'pv{i}{{id="{10 + i:0>32}"\nstatus=["ALLOCATABLE"]\npe_start=8\npe_count=50\n}}\n'
    return text + "}\nlogical_volumes{\n" + "".join(lvs) + '}\n}\ncontents="Text Format Volume Group"\nversion=1\n'


def lv(name, number, count, keys, status='"READ","WRITE","VISIBLE"'):
    return (f'{name}{{id="{100 + number:0>32}"\nstatus=[{status}]\nsegment_count=1\nsegment1{{\nstart_extent=0\n'
            f"extent_count={count}\n{keys}\n}}\n}}\n")


def linear(name, number, count, on, extent):
    return lv(name, number, count, f'type="striped"\nstripe_count=1\nstripes=["{on}",{extent}]')


GROUPS = {
    "empty": group([]),
    "linear": group([linear("l", 0, 4, "pv0", 0)]),
    "striped": group([lv("s", 0, 4, 'type="striped"\nstripe_count=2\nstripe_size=8\nstripes=["pv0",0,"pv1",3]')]),
    "snapshots": group([linear("o", 0, 4, "pv0", 0), linear("c", 1, 2, "pv1", 0), linear("d", 2, 2, "pv1", 2),
                        lv("snapshot0", 3, 4, 'type="snapshot"\nchunk_size=8\norigin="o"\ncow_store="c"'),
                        lv("snapshot1", 4, 4, 'type="snapshot"\nchunk_size=16\norigin="o"\nmerging_store="d"')]),
    "thin": group([linear("m", 0, 1, "pv0", 0), linear("d", 1, 4, "pv1", 0), linear("b", 2, 1, "pv0", 1),
                   lv("p", 3, 4, 'type="thin-pool"\nmetadata="m"\npool="d"\ntransaction_id=2\nchunk_size=128\n'
                                 'discards="passdown"\nzero_new_blocks=1\nmessage1{create="t"\n}'),
                   lv("t", 4, 9, 'type="thin"\nthin_pool="p"\ntransaction_id=1\ndevice_id=1\norigin="u"\n'
                                 'external_origin="b"')]),
    "raid": group([linear(f"{kind}_{i}", 2 * i + (kind == "m"), 2, f"pv{i}", 0 if kind == "m" else 2)
                   for i in range(2) for kind in "md"]
                  + [lv("r", 9, 2, 'type="raid1"\ndevice_count=2\nregion_size=4096\nraids=["m_0","d_0","m_1","d_1"]')]),
    "raid0": group([linear(f"d_{i}", i, 2, f"pv{i}", 0) for i in range(2)]
                   + [lv("r", 9, 4, 'type="raid0"\nstripe_count=2\nstripe_size=8\nraid0_lvs=["d_0","d_1"]')]),
    "mirror": group([lv("l", 0, 4, 'type="mirror"\nmirror_count=2\nextents_moved=1\nregion_size=8\n'
                                   'mirrors=["pv0",0,"pv1",4]', '"READ","PVMOVE"'), linear("on", 1, 4, "l", 0)]),
    "error_zero": group([lv("e", 0, 1, 'type="error"'), lv("z", 1, 1, 'type="zero"\ntags=["a","b"]')]),
    "unknown": group([lv("x", 0, 7, 'type="warp+SPEED"\nplaces=["pv0",3]\nnest{a{b=1.5\n}\n}')]),
    "vdo": (DATA / "vdo.vg").read_text(),
    "real": (DATA / "parts.vg").read_text(),
}
TREES = {
    "scalars": "a=1 b=-2 c=0x1f d=1.5 e=\"q\\\"\\\\\" f='s' g=bare .5=-.5 \"k =\"=+3",
    "arrays": 'a=[] b=[1,"x",2.5,] c=[ "pv0", 0 # comment\n]',
    "nested": "a{b{c{d=1}}} e { } f{g=[1] h{}}",
    "open": "a { b = \"",
    "comments": "# one\na = 1 # two\n#three",
}


def label(sector, areas, boot=(), flags=1):
    body = b"k4FCjQbpwW1nk5fcffQEQC7sBY0efcaE" + struct.pack("<Q", 65536)
    body += struct.pack("<4Q", 32768, 0, 0, 0)
    for area in areas:
        body += struct.pack("<2Q", *area)
    body += bytes(16) + struct.pack("<2I", 2, flags)
    for area in boot:
        body += struct.pack("<2Q", *area)
    tail = struct.pack("<I", 32) + b"LVM2 001" + body
    tail += bytes(492 - len(tail))
    return b"LABELONE" + struct.pack("<QI", sector, lvm_crc(tail)) + tail


def mda_header(start, size, slots):
    body = bytes.fromhex("204c564d3220785b35412572304e2a3e") + struct.pack("<I2Q", 1, start, size)
    for slot in slots:
        body += struct.pack("<2Q2I", *slot)
    body += bytes(508 - len(body))
    return struct.pack("<I", lvm_crc(body)) + body


def area(size, start, texts, ignored=0):
    """texts: [(offset, text)], the last one committed."""
    ring = bytearray(size)
    slot = (0, 0, 0, ignored)
    for offset, text in texts:
        raw = text.encode() + b"\0"
        for i, byte in enumerate(raw):
            at = offset + i
            ring[at if at < size else 512 + at - size] = byte
        slot = (offset, len(raw), lvm_crc(raw), ignored)
    ring[:512] = mda_header(start, size, [slot, (0, 0, 0, 0)])
    return bytes(ring)


def disk(sectors, script):
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(sectors * 512)
        subprocess.run(["sfdisk", "-q", image.name], input=script.encode(), check=True)
        return pathlib.Path(image.name).read_bytes()


def main():
    for name, text in TREES.items():
        seed("config_tree", name, text)
    for name in ("thin", "unknown", "real"):
        seed("config_tree", "group_" + name, GROUPS[name])
    for name, text in GROUPS.items():
        seed("volume_group", name, text)

    seed("pv_label", "usual", bytes(512) + label(1, [(4096, 8192)]))
    seed("pv_label", "sector0", label(0, []))
    seed("pv_label", "boot", bytes(1536) + label(3, [(4096, 8192), (57344, 8192)], [(16384, 4096)]))
    seed("pv_label", "no_end", bytes(512) + label(1, [(4096 + i, 1024) for i in range(24)]))
    text = GROUPS["linear"]
    whole = bytes(512) + label(1, [(4096, 8192)])
    seed("pv_label", "with_area", whole + bytes(4096 - len(whole)) + area(8192, 4096, [(512, text)]))

    second = group([linear("l", 0, 5, "pv0", 0)], 2)
    for name, size, texts in (("first", 4096, [(512, text)]), ("two", 8192, [(512, text), (1536, second)]),
                              ("wraps", 4096, [(512, text), (3584, second)]), ("none", 4096, []),
                              ("small", 1024, [])):
        seed("metadata_area", name, bytes([9, 1]) + area(size, 4096, texts))
    seed("metadata_area", "ignored", bytes([9, 1]) + area(4096, 4096, [], 1))
    seed("metadata_area", "odd_size", bytes([20, 0]) + area(5000, 4096, [(3000, second)]))

    gpt = "label: gpt\nfirst-lba: 34\nstart=40, size=10\nstart=50, size=20, name=x\n"
    seed("partition_table", "gpt", disk(160, gpt))
    seed("partition_table", "mbr", disk(64, "label: dos\nstart=1, size=8, type=8e\nstart=10, size=50, type=5\n"
                                            "start=12, size=8\nstart=22, size=8, type=8e\n"))
    broken = bytearray(disk(160, gpt))
    broken[512:520] = bytes(8)
    seed("partition_table", "gpt_backup", bytes(broken))


main()
