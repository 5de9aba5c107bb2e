"""Commands that are timed: seconds, CPU seconds, the largest resident size, whatever children they have."""
import os
import pathlib
import statistics
import subprocess
import sys
import time


class Figures:
    def __init__(self, seconds, cpu, memory):
        self.seconds, self.cpu, self.memory = seconds, cpu, memory  # memory: bytes, of the largest single process


def run(argv, **kwargs):
    result = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, argv))}\n{result.stdout.decode()}{result.stderr.decode()}")
    return result.stdout


def measured(argv, env=None, stdin=None, stdout=None, expect=0):
    """`stdin` and `stdout` are paths. A list of lists is a pipeline, run by a shell (its parts are counted)."""
    if isinstance(argv[0], (list, tuple)):
        from shlex import quote
        argv = ["bash", "-o", "pipefail", "-c", " | ".join(" ".join(quote(str(w)) for w in part) for part in argv)]
    with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as sink:
        begun = time.monotonic()
        child = subprocess.Popen([str(word) for word in argv], env=env, stdin=source, stdout=sink,
                                 stderr=subprocess.PIPE)
        told = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - begun
    if child.returncode != expect:
        sys.exit(f"exit code {child.returncode}: {' '.join(map(str, argv))}\n{told.decode(errors='replace')}")
    return Figures(took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def size_of(path):
    path = pathlib.Path(path)
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


class Table:
    """What was measured, by name: rounds of Figures, and the bytes stored."""

    def __init__(self):
        self.rounds, self.stored = {}, {}

    def add(self, name, figures, stored=None):
        self.rounds.setdefault(name, []).append(figures)
        if stored is not None:
            self.stored[name] = stored

    def add_seconds(self, name, seconds):
        """What is reckoned from a rate, not measured as a command."""
        self.add(name, Figures(seconds, 0, 0))

    def seconds(self, name):
        return statistics.median(f.seconds for f in self.rounds[name])

    def cpu(self, name):
        return statistics.median(f.cpu for f in self.rounds[name])

    def memory(self, name):
        return max(f.memory for f in self.rounds[name])

    def has(self, *names):
        return all(name in self.rounds for name in names)

    def text(self):
        lines = [f"{'':<38}{'seconds':>9}{'spread':>8}{'CPU s':>8}{'memory':>10}{'stored':>12}"]
        for name, rounds in self.rounds.items():
            times = [f.seconds for f in rounds]
            stored = f"{self.stored[name] / 2**20:.1f} MiB" if name in self.stored else ""
            lines.append(f"{name:<38}{self.seconds(name):>9.2f}{(max(times) - min(times)) / self.seconds(name):>8.0%}"
                         f"{self.cpu(name):>8.2f}{self.memory(name) / 2**20:>6.0f} MiB{stored:>12}")
        return "\n".join(lines)

    def json(self):
        return {name: {"seconds": [f.seconds for f in rounds], "median": self.seconds(name), "cpu_seconds": self.cpu(name),
                       "peak_memory": self.memory(name), "stored": self.stored.get(name)}
                for name, rounds in self.rounds.items()}
