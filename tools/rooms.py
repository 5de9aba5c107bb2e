#!/usr/bin/env python3
"""Draws the rooms of src/ and points at includes that go up.

The arrows are those of src/CMakeLists.txt (room(NAME DEPS ...)): a room may include itself and
whatever its arrows reach. Exit 1 when an include goes elsewhere. --graph prints the arrows.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
src = root / "src"


def arrows():
    text = re.sub(r"#.*", "", (src / "CMakeLists.txt").read_text())
    rooms = {}
    for body in re.findall(r"^room\(([^)]*)\)", text, re.M):
        words = body.split()
        deps = []
        if "DEPS" in words:
            for word in words[words.index("DEPS") + 1:]:
                if word == "LIBS":
                    break
                deps.append(word)
        rooms[words[0]] = deps
    return rooms


def reach(rooms, room, seen=None):
    seen = set() if seen is None else seen
    for dep in rooms.get(room, []):
        if dep not in seen:
            seen.add(dep)
            reach(rooms, dep, seen)
    return seen


def room_of(rooms, path):
    best = ""
    for room in rooms:
        if path.startswith(room + "/") and len(room) > len(best):
            best = room
    return best


def main():
    rooms = arrows()
    if "--graph" in sys.argv:
        for room, deps in rooms.items():
            print(f"{room:14} <- {', '.join(deps) or '(ground)'}")
        return 0
    bad = files = 0
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        files += 1
        relative = str(path.relative_to(src))
        room = room_of(rooms, relative)
        if not room:
            print(f"{relative}: lies in no room of src/CMakeLists.txt")
            bad += 1
            continue
        allowed = reach(rooms, room) | {room}
        is_test = relative.endswith(("_test.cc", "_test.h", "_fuzz.cc"))
        if is_test:
            allowed |= {"testing"} | reach(rooms, "testing")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = room_of(rooms, match.group(1))
            if not target:
                print(f"{relative}:{number}: \"{match.group(1)}\" does not name its room")
                bad += 1
            elif target not in allowed:
                print(f"{relative}:{number}: {room} may not include {target} (\"{match.group(1)}\")")
                bad += 1
    print(f"{files} files in {len(rooms)} rooms, {bad} includes that go up")
    return 1 if bad or not files else 0


sys.exit(main())
