"""Real servers as ordinary processes on the loopback address: each is started by a context manager, and ended by its pid.

Also a program: `servers.py s3 COMMAND...` runs a command beside an S3 server, with $AWS_... and $RESPALDO_TEST_S3 set."""
import contextlib
import datetime
import hashlib
import hmac
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

# No proxy stands between us and ourselves.
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """One server; it dies with us, and its words go to a log."""

    def __init__(self, argv, log, **environment):
        self.log = pathlib.Path(log)
        self.name = pathlib.Path(str(argv[0])).name
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, argv)], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, env=dict(os.environ, **environment))

    def wait_until(self, ready, seconds=400):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if found := ready():
                return found
            time.sleep(0.05)
        sys.exit(f"FAILED: {self.name} did not get ready (is its package installed? tools/install_dependencies):\n"
                 f"{self.words()[-3000:]}")

    def words(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=30)


@contextlib.contextmanager
def scratch():
    # A path of an admin socket must be short.
    path = pathlib.Path(tempfile.mkdtemp(prefix="rs"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Rest:
    """`rclone serve restic` on a port of its own; start() after stop() takes the same port."""

    def __init__(self, folder, *options, scheme="http"):
        self.folder = pathlib.Path(folder)
        self.options = options
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{scheme}://{self.address}/"
        self.start()

    def start(self):
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.process = Process(["rclone", "serve", "restic", "--addr", self.address, *self.options, data], self.folder / "log",
                               RCLONE_CONFIG="/dev/null")
        self.process.wait_until(lambda: is_open(self.port))

    def stop(self, how=signal.SIGTERM):
        self.process.stop(how)


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def rest(*options):
    with scratch() as folder:
        server = Rest(folder, *options)
        try:
            yield server
        finally:
            server.stop()


class Ceph:
    """A Ceph cluster of one node with its S3 server, in memory."""
    KEY, SECRET = "respaldo-test", "not a secret at all"

    def __init__(self, folder):
        self.folder = folder
        self.configuration = folder / "ceph.conf"
        self.processes = []
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.write_configuration()

    def write_configuration(self):
        for name in ("mon", "osd", "rgw", "log", "run", "crash"):
            (self.folder / name).mkdir()
        self.monitor = f"[v2:127.0.0.1:{free_port()}]"
        self.id = str(uuid.uuid4())
        f = self.folder
        self.configuration.write_text(f"""[global]
fsid = {self.id}
mon host = {self.monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {f}/run
admin socket = {f}/run/$name.asok
pid file =
log file = {f}/log/$name.log
crash dir = {f}/crash
keyring = {f}/keyring
mon data = {f}/mon
osd data = {f}/osd
rgw data = {f}/rgw
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
mon osd full ratio = 0.98
mon osd nearfull ratio = 0.97
osd objectstore = memstore
memstore device bytes = {os.environ.get("CEPH_BYTES", "3G")}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw frontends = beast endpoint=127.0.0.1:{self.port}
rgw dns name = localhost
rgw rados pool pg num min = 1
rgw thread pool size = 32
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
""")

    def tool(self, *argv):
        result = subprocess.run(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        if result.returncode != 0:
            sys.exit(f"FAILED: {' '.join(map(str, argv))}:\n{result.stderr[-3000:]}")
        return result.stdout

    def answer_of(self, *words):
        try:
            return subprocess.run(["ceph", "-c", str(self.configuration), "--connect-timeout", "60", *words],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120).stdout
        except subprocess.TimeoutExpired:
            return ""

    def spawn(self, *argv):
        process = Process(argv, self.folder / "log" / f"{argv[0]}.out")
        self.processes.append(process)
        return process

    def start(self):
        f, conf, keys = self.folder, self.configuration, self.folder / "keyring"
        self.tool("ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name, *caps in (("client.admin", "mon", "allow *", "osd", "allow *", "mgr", "allow *"),
                            ("osd.0", "mon", "allow profile osd", "osd", "allow *"),
                            ("client.rgw", "mon", "allow rwx", "osd", "allow rwx")):
            pairs = [word for i in range(0, len(caps), 2) for word in ("--cap", caps[i], caps[i + 1])]
            self.tool("ceph-authtool", keys, "--gen-key", "-n", name, *pairs)
        self.tool("monmaptool", "--create", "--fsid", self.id, "--set-min-mon-release", "pacific", "--addv", "a", self.monitor,
                  f / "monmap")
        self.tool("ceph-mon", "-c", conf, "-i", "a", "--mkfs", "--monmap", f / "monmap", "--keyring", keys)
        self.spawn("ceph-mon", "-c", conf, "-i", "a", "-f").wait_until(lambda: self.answer_of("mon", "stat"))
        disk = str(uuid.uuid4())
        self.answer_of("osd", "new", disk)
        self.tool("ceph-osd", "-c", conf, "-i", "0", "--osd-uuid", disk, "--mkfs")
        self.spawn("ceph-osd", "-c", conf, "-i", "0", "-f").wait_until(lambda: "1 up" in self.answer_of("osd", "stat"))
        self.start_gateway()
        self.admin("user", "create", "--uid=test", "--display-name=test", f"--access-key={self.KEY}", f"--secret-key={self.SECRET}")

    def start_gateway(self):
        """The S3 server alone; again after stop_gateway(), on the same port."""
        self.spawn("radosgw", "-c", self.configuration, "-n", "client.rgw", "-f").wait_until(self.answers)

    def stop_gateway(self, how=signal.SIGTERM):
        self.processes.pop().stop(how)

    def admin(self, *words):
        return self.tool("radosgw-admin", "-c", self.configuration, *words)

    def request(self, method, path, query="", body=b"", headers=()):
        """A signed request of ours (not of what is tested); its status and text. `query`: sorted and encoded."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        sent = dict(headers, host=f"localhost:{self.port}", **{"x-amz-date": now, "x-amz-content-sha256": digest})
        names = ";".join(sorted(sent))
        canonical = "\n".join([method, path, query, *[f"{name}:{sent[name]}" for name in sorted(sent)], "", names, digest])
        scope = f"{now[:8]}/us-east-1/s3/aws4_request"
        key = ("AWS4" + self.SECRET).encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        sent["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
        url = f"{self.url}{path}{'?' if query else ''}{query}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body or None, sent, method=method), timeout=60) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def answers(self):
        try:
            return urllib.request.urlopen(self.url, timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        for process in reversed(self.processes):
            process.stop()

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.KEY, "AWS_SECRET_ACCESS_KEY": self.SECRET}


@contextlib.contextmanager
def s3():
    with scratch() as folder:
        server = Ceph(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


if __name__ == "__main__" and sys.argv[1:2] == ["s3"]:
    begin = time.monotonic()
    with s3() as ceph:
        print(f"started in {time.monotonic() - begin:.1f} s: {ceph.url}", flush=True)
        sys.exit(subprocess.run(sys.argv[2:], env=dict(os.environ, RESPALDO_TEST_S3=f"{ceph.url}/suite",
                                                       **ceph.environment())).returncode)
