"""What the end-to-end tests share: the program, images, and a way to kill at random moments."""
import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RESPALDO = os.environ["RESPALDO"]
STATE = os.path.join(tempfile.gettempdir(), f"respaldo-state-{os.getpid()}")
ENV = dict(os.environ, RESPALDO_STATE=STATE, RESPALDO_PASSWORD="endtoend", RESTIC_PASSWORD="endtoend", LC_ALL="C")
atexit.register(shutil.rmtree, STATE, ignore_errors=True)
SEED = int(os.environ.get("SEED", time.time_ns() % 1000000))
RANDOM = random.Random(SEED)
MIB = 1 << 20


def fail(text):
    sys.exit(f"FAILED (SEED={SEED}): {text}")


def need(condition, text):
    if not condition:
        fail(text)


PATIENCE = int(os.environ.get("PATIENCE", 300))  # seconds that a command may take


def run(argv, expect=0, timeout=PATIENCE, **kwargs):
    """Runs a command; its exit code must be `expect` (None: any)."""
    result = subprocess.run([str(a) for a in argv], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            errors="replace", timeout=timeout, **kwargs)
    if expect is not None and result.returncode != expect:
        fail(f"{' '.join(map(str, argv))}\nexit code {result.returncode}, expected {expect}\n{result.stdout}{result.stderr}")
    return result


def spawn(argv, **kwargs):
    """Starts a command that dies with us; what it says on standard error can be read."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, argv)], env=ENV, text=True,
                            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **kwargs})


def restic(repository, *words, **kwargs):
    return run(["restic", "--no-cache", "-r", repository, *words], **kwargs)


class Images:
    """Disk images in a folder of their own, and the commands on them."""

    def __init__(self, folder, *names, size=96 * MIB):
        self.folder = pathlib.Path(folder)
        self.paths = [self.folder / name for name in names]
        for path in self.paths:
            with open(path, "wb") as f:
                f.truncate(size)
        self.base = [RESPALDO]
        for path in self.paths:
            self.base += ["--disk", str(path)]

    def command(self, *words):
        return self.base + [str(w) for w in words]

    def __call__(self, *words, **kwargs):
        return run(self.command(*words), **kwargs)

    def lvm(self, *words, **kwargs):
        return self("lvm", *words, **kwargs)

    def sum_of(self, volume):
        out = self.folder / "dump.tmp"
        self("-q", "dump", volume, "-o", out)
        digest = file_sum(out)
        out.unlink()
        return digest

    @contextlib.contextmanager
    def activated(self):
        point = self.folder / "volumes"
        point.mkdir(exist_ok=True)
        self("-q", "activate", point)
        try:
            yield point
        finally:
            for _ in range(50):
                if run(["fusermount3", "-u", point], expect=None).returncode == 0:
                    break
                time.sleep(0.1)
            # The images are free again once the process has flushed and gone.
            for _ in range(100):
                if run(self.command("lvm", "pvs"), expect=None).returncode == 0 and not serving(self.paths[0]):
                    break
                time.sleep(0.1)


def serving(image):
    result = subprocess.run(["pgrep", "-f", f"{image}.*--foreground"], stdout=subprocess.PIPE)
    return result.returncode == 0


def file_sum(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def random_bytes(size):
    return RANDOM.randbytes(size)


def write_at(path, offset, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        written = os.pwrite(fd, data, offset)
        need(written == len(data), f"{path}: only {written} of {len(data)} bytes were written")
        os.fsync(fd)
    finally:
        os.close(fd)


def age_files(image):
    """The files of a filesystem's root folder changed long ago: --quick trusts them."""
    lines = [line.split("/") for line in run(["debugfs", "-R", "ls -p /", image]).stdout.splitlines()]
    script = "".join(f"sif \"{line[5]}\" ctime @946684800\n" for line in lines if len(line) > 5 and line[2].startswith("1"))
    need(script, "there are no files")
    run(["debugfs", "-w", "-f", "-", image], input=script)


def kill_after(argv, seconds, how=signal.SIGKILL, begun=None):
    """Starts a command and kills it after that time, which runs from when `begun` is true. Its exit code, or -9; and whether
    it was killed; and what it said on standard error."""
    process = subprocess.Popen([str(a) for a in argv], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    limit = time.monotonic() + 600
    while begun and process.poll() is None and not begun():
        if time.monotonic() > limit:
            process.kill()
            fail(f"{argv} never begins")
        time.sleep(0.001)
    try:
        process.wait(timeout=seconds)
        killed = False
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        killed = True
    error = process.stderr.read().decode(errors="replace")
    process.wait(timeout=60)
    return process.returncode, killed, error


class Moments:
    """When to kill a command, so that kills fall everywhere in its work. How long that takes is learned on the way: it is
    said when a kill fell early, and when the command was done by itself."""

    def __init__(self, seconds):
        self.seconds = seconds

    def choose(self):
        return RANDOM.uniform(0, self.seconds)

    def early(self):
        self.seconds *= 1.2

    def done_after(self, seconds):
        self.seconds = (self.seconds + 1.1 * seconds) / 2


def comes_true(condition, seconds=300):
    """Waits for it; whether it came true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def held(argv, point, file):
    """Starts a command (its standard error is kept), and waits until it has come to that point (see src/os/crash_point.h).
    It goes on when `file` is gone, at the latest behind the block."""
    file.unlink(missing_ok=True)
    process = subprocess.Popen([str(a) for a in argv], env=dict(ENV, RESPALDO_HOLD_AT=point, RESPALDO_HOLD_FILE=str(file)),
                               text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        need(comes_true(lambda: file.exists() or process.poll() is not None) and file.exists(), f"it never came to: {point}")
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        file.unlink(missing_ok=True)


def duration(argv):
    start = time.monotonic()
    run(argv)
    return time.monotonic() - start


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="respaldo endtoend.")
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def objects(repository, *kinds):
    """The names of a local repository's objects of these kinds; what is half written is none."""
    return {name for kind in kinds for _, _, names in os.walk(pathlib.Path(repository) / kind) for name in names if len(name) == 64}


def backups(repository):
    return json.loads(run([RESPALDO, "--json", "-r", repository, "list"]).stdout)
