"""What differs between the stores that faults.py spoils: how to reach them, their words for each fault, how they restart, and the
faults that no second attempt mends."""
import contextlib
import shlex

import servers
from common import *
from faulty_proxy import FaultyLine, FaultyProxy
from life import Place
from sshd import Sshd

RESET = ("Connection reset", "Broken pipe")
# In the suite a stall comes alone: on a busy machine a second is nothing, and to wait long for each takes too long.
BY_HAND = "FAULTS" in os.environ
STALL = 5 if BY_HAND else 60  # seconds without progress


class Http:
    """What REST and S3 have in common. `badly` leads through the proxy; to `hasty` a second without progress is a stall."""
    chances = (0.1, 0.3, 0.6)
    usual = None if BY_HAND else tuple(kind for kind in FaultyProxy.KINDS if kind != "stall")
    early = (0, 1, 100)
    CUT = ("transfer closed", "cut short", "Empty reply")
    WORDS = {"reset before": RESET, "reset in request": RESET, "reset in answer": RESET, "lost answer": RESET, "cut answer": CUT,
             "500": ("(status 500",), "503": ("(status 503",), "429": ("(status 429",), "stall": ("stalled",), "slow": (),
             "restart": (*RESET, *CUT, "Connection refused", "Could not connect", "Failed to connect"),
             "full": ("is full",), "expired": ("have expired",), "credentials": ("does not accept our credentials",)}
    KINDS = {"507": "full", "401": "credentials", "400": "expired", "403": "full"}

    def words_of(self, kinds):
        return [word for kind in kinds for word in self.WORDS[self.KINDS.get(kind, kind)]]

    def always(self, status, only):
        """Every such request is answered by the proxy alone from now on."""
        return lambda: self.proxy.arm(10 ** 6, 1, [status], only=only)


class Rest(Http):
    faults = 30
    skew_words = ()

    def __init__(self, server):
        self.server = server
        self.proxy = FaultyProxy(("127.0.0.1", server.port), SEED)
        self.directly = Place(f"rest:{server.url}", ["--no-cache"])
        self.badly, self.hasty = (Place(f"rest:http://127.0.0.1:{self.proxy.port}/", ["--no-cache", "-o", f"rest.stall={seconds}"])
                                  for seconds in (STALL, 1))

    def packs(self):
        return len([path for path in (self.server.folder / "data/data").rglob("*") if path.is_file()])

    def kill(self):
        self.server.stop(signal.SIGKILL)

    def start(self):
        self.server.start()

    def permanent(self, trial):
        trial.fails_at_once(self.always("507", (b"POST",)), self.WORDS["full"], self.proxy.disarm)
        trial.fails_at_once(self.always("401", (b"POST",)), self.WORDS["credentials"], self.proxy.disarm)


class S3(Http):
    faults = 10
    skew_words = ("does not believe our clock", "minutes ahead of the server's")
    EXPIRED = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    FULL = "<Error><Code>QuotaExceeded</Code><Message>No more room.</Message></Error>"

    def __init__(self, ceph, work):
        self.ceph, self.credentials = ceph, work / "credentials"
        self.proxy = FaultyProxy(("127.0.0.1", ceph.port), SEED)
        self.proxy.answers.update({"400": self.EXPIRED, "403": self.FULL})
        self.directly = Place(f"s3:{ceph.url}/faults", ["--no-cache"])
        self.badly, self.hasty = (Place(f"s3:http://127.0.0.1:{self.proxy.port}/faults", ["--no-cache", "-o", f"s3.stall={seconds}"])
                                  for seconds in (STALL, 1))

    def packs(self):
        status, text = self.ceph.request("GET", "/faults", "list-type=2&prefix=data%2F")
        return text.count("<Key>") if status == 200 else -1

    def kill(self):
        self.ceph.stop_gateway(signal.SIGKILL)

    def start(self):
        self.ceph.start_gateway()

    def write_credentials(self, token):
        self.credentials.write_text(f"[default]\naws_access_key_id = {self.ceph.KEY}\naws_secret_access_key = {self.ceph.SECRET}\n"
                                    f"aws_session_token = {token}\n")

    def permanent(self, trial):
        upload = (b"PUT ",)
        trial.fails_at_once(self.always("403", upload), self.WORDS["full"], self.proxy.disarm)
        trial.fails_at_once(self.always("400", upload), self.WORDS["expired"], self.proxy.disarm)
        self.new_credentials(trial)
        # The server's own refusal, of a key that was taken away.
        name = ["--uid=test", f"--access-key={self.ceph.KEY}"]
        # Ceph was seen to answer AccessDenied to what was under way then, and InvalidAccessKeyId afterwards.
        trial.fails_at_once(lambda: self.ceph.admin("key", "rm", *name), (*self.WORDS["credentials"], "AccessDenied"),
                            lambda: self.ceph.admin("key", "create", *name, f"--secret-key={self.ceph.SECRET}"))

    def new_credentials(self, trial):
        """They expire in mid-backup, but there are newer ones in the file: nobody notices."""
        self.write_credentials("first")
        kept = {name: ENV.pop(name) for name in self.ceph.environment()}
        ENV["AWS_SHARED_CREDENTIALS_FILE"] = str(self.credentials)
        def expire():
            self.write_credentials("second")
            self.proxy.arm(1, 1, ["400"], only=(b"PUT ",))
        code, said, *state = trial.in_midst(expire)
        need(code == 0 and self.proxy.done[-1] == "400", f"newer credentials were not used: {code} {said}")
        trial.account(code, said, *state)
        del ENV["AWS_SHARED_CREDENTIALS_FILE"]
        ENV.update(kept)


class Sftp:
    faults = 10
    usual = None if BY_HAND else ("reset", "cut", "slow")
    chances = (0.5, 0.9)
    early = (0, 100)
    skew_words = ()
    CLOSED = ("Connection closed", "closed by remote host", "closed by 127.0.0.1")
    WORDS = {"reset": RESET, "cut": CLOSED, "stall": ("not responding", "timed out"), "slow": (),
             "restart": (*RESET, *CLOSED, "Connection refused")}

    def __init__(self, server, work):
        self.server, self.repository = server, work / "repository"
        self.proxy = FaultyLine(("127.0.0.1", server.port), SEED)
        ssh = f"-F '{server.config}'"
        bad = f"-p {self.proxy.port} -o HostKeyAlias=[127.0.0.1]:{server.port} -o ServerAliveInterval=5 {ssh}"
        theirs = ["-o", f"sftp.command=ssh -F {shlex.quote(str(server.config))} -s store sftp"]
        self.directly = Place(f"sftp:store:{self.repository}", ["--no-cache", "-o", f"sftp.args={ssh}"], theirs)
        # Of two values ssh takes the first. A busy machine takes seconds to connect.
        self.badly, self.hasty = (Place(f"sftp:store:{self.repository}", ["--no-cache", "-o", f"sftp.args={words} {bad}"])
                                  for words in ("-o ConnectTimeout=30 -o ServerAliveCountMax=4", "-o ConnectTimeout=2"))

    def words_of(self, kinds):
        return [word for kind in kinds for word in self.WORDS[kind]]

    def packs(self):
        return len([path for path in (self.repository / "data").rglob("*") if path.is_file() and ".respaldo-" not in path.name])

    def kill(self):
        sessions = self.server.sessions()
        self.server.process.kill()
        self.server.process.wait()
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start(self):
        self.server.start()

    def permanent(self, trial):
        # The key is taken away; who is connected is cut off, and comes back in vain.
        keys = self.server.folder / "user.pub"
        kept = keys.read_text()
        def expire():
            keys.write_text("")
            self.server.cut()
        trial.fails_at_once(expire, ("Permission denied",), lambda: keys.write_text(kept))
        full_disk(trial)


def full_disk(trial):
    """OpenSSH's SFTP server on a disk of 12 MiB, in a namespace where we may mount one."""
    disk = trial.work / "small"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=12m none {shlex.quote(str(disk))} && echo mounted && exec sleep infinity"
    holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "-rm", "sh", "-c", mount], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "mounted\n":
            print(f"no full disk over SFTP: nothing may be mounted here ({holder.stderr.read().strip()})")
            return
        command = f"nsenter -t {holder.pid} -U -m --preserve-credentials /usr/lib/openssh/sftp-server"
        place = Place(f"sftp:store:{disk}/repository", ["--no-cache", "-o", f"sftp.command={command}"],
                      ["-o", f"sftp.command={command}"])
        place.respaldo("init")
        said = run(trial.volume.backup(place), expect=1).stderr
        need("has no room" in said, f"a full disk is not named: {said}")
        need(place.backups() == [], "a backup is listed that is not there")
        place.restic("check", "--no-lock")
    finally:
        holder.kill()
        holder.wait()


@contextlib.contextmanager
def rest(work):
    with servers.rest() as server:
        yield Rest(server)


@contextlib.contextmanager
def s3(work):
    with servers.s3() as ceph:
        ENV.update(ceph.environment())
        yield S3(ceph, work)


@contextlib.contextmanager
def sftp(work):
    server = Sshd(work / "ssh")
    try:
        yield Sftp(server, work)
    finally:
        server.cut()
        server.stop()


OPEN = {"rest": rest, "s3": s3, "sftp": sftp}
