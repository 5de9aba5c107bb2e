"""Ratios out of the tables, their marks, and a plot."""
import html
import sys


class Ratio:
    def __init__(self, name, value, mark, enforced=False):
        self.name, self.value, self.mark, self.enforced = name, value, mark, enforced  # at most `mark`


# name, what, of what, mark: seconds unless the name says "stored". `enforced` by --require.
MARKS = [
    ("system: both views / image alone", "respaldo, both views", "respaldo, image alone", 1.15, True),
    ("system: both views / restic's files", "respaldo, both views", "restic, files", 0.40, True),
    ("system: both views / restic's image", "respaldo, both views", "restic, image", 0.35, False),
    ("system: both views / zstd -3 -T2", "respaldo, both views", "zstd -3 -T2, image", 0.75, False),
    ("system: both views, fast / zstd -1 -T2", "respaldo, both views, fast", "zstd -1 -T2, image", 0.5, False),
    ("system: image restore / dd conv=sparse", "respaldo, image restore", "dd conv=sparse", 1.1, False),
    ("system: image restore / restic's", "respaldo, image restore", "restic, image restore", 1 / 2.2, False),
    ("system: restore in place / restore", "respaldo, image restore in place", "respaldo, image restore", 0.2, False),
    ("system: files restore / restic's", "respaldo, files restore", "restic, files restore", 0.5, False),
    ("system: check --read-data / restic's", "respaldo, check --read-data", "restic, check --read-data", 0.5, False),
    ("random: image / restic's", "respaldo, image alone", "restic, image", 0.2, False),
    # At least 80 % of the rate that hashing and sealing alone have on all processors.
    ("random: image / hash and seal alone", "respaldo, image alone", "hash and seal alone", 1.25, False),
    ("many: both views / restic's files", "respaldo, both views", "restic, files", 0.40, False),
    ("many: files restore / restic's", "respaldo, files restore", "restic, files restore", 0.5, False),
]


def ratios(tables):
    found = []
    for name, what, of, mark, enforced in MARKS:
        table = tables.get(name.split(":")[0])
        if table and table.has(what, of):
            found.append(Ratio(name, table.seconds(what) / table.seconds(of), mark, enforced))
    system = tables.get("system")
    if system and system.has("restic, image"):
        twice = system.seconds("restic, files") + system.seconds("restic, image")
        found.append(Ratio("system: both views / restic's two runs", system.seconds("respaldo, both views") / twice, 0.15))
        found.append(Ratio("system: stored, both views / restic's files",
                           system.stored["respaldo, both views"] / system.stored["restic, files"], 1.03, True))
        found.append(Ratio("system: stored, image / restic's image",
                           system.stored["respaldo, image alone"] / system.stored["restic, image"], 1.02))
    for name, table in tables.items():
        most = max(table.memory(who) for who in table.rounds if who.startswith("respaldo"))
        found.append(Ratio(f"{name}: peak memory of respaldo / 300 MB", most / 300e6, 1))
    if "empty" in tables:
        found.append(Ratio("empty: seconds / 2", tables["empty"].seconds("respaldo") / 2, 1))
    return found


def text(found):
    lines = [f"{'ratio':<46}{'measured':>9}{'at most':>9}"]
    for ratio in found:
        missed = "" if ratio.value <= ratio.mark else "  missed"
        lines.append(f"{ratio.name:<46}{ratio.value:>9.3f}{ratio.mark:>9.2f}{missed}")
    return "\n".join(lines)


def require(found):
    missed = [r for r in found if r.enforced and r.value > r.mark]
    for ratio in missed:
        print(f"bench: {ratio.name} is {ratio.value:.3f}, the mark is {ratio.mark}", file=sys.stderr)
    return 1 if missed else 0


def svg(tables, titles):
    """Bars of seconds, ours in colour."""
    rows, y, width, left = [], 20, 900, 300
    for name, table in tables.items():
        rows.append(f'<text x="10" y="{y}" font-weight="bold">{html.escape(titles[name])}: seconds</text>')
        y += 12
        longest = max(table.seconds(who) for who in table.rounds)
        for who in table.rounds:
            seconds = table.seconds(who)
            bar = max(1, seconds / longest * (width - left - 80))
            colour = "#2a6f97" if who.startswith("respaldo") else "#b0b7bd"
            rows.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(who)}</text>'
                        f'<rect x="{left}" y="{y}" width="{bar:.0f}" height="15" fill="{colour}"/>'
                        f'<text x="{left + bar + 6:.0f}" y="{y + 12}">{seconds:.2f}</text>')
            y += 20
        y += 25
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(rows)}</svg>\n')
