"""OpenSSH's server as an ordinary process on the loopback address, and a client configuration that knows it."""
import getpass
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time


class Sshd:
    """In a folder of its own: keys, configurations (`config`: the client's, with the alias "store"), and a log. `sftp` is inside
    sshd by default. bash runs no startup files of the user, which may be slow, when it is told that it is not the first."""

    def __init__(self, folder, sftp="internal-sftp"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        for name in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        key = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")
        other = (self.folder / "stranger.pub").read_text().split()[:2]
        (self.folder / "changed_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(other)}\n")
        (self.folder / "no_hosts").touch()
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey \"{self.folder}/host\"\nPidFile none\n"
            f"AuthorizedKeysFile \"{self.folder}/user.pub\"\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            f"StrictModes no\nMaxStartups 100\nSetEnv SHLVL=2\nSubsystem sftp {sftp}\n")
        self.config = self.client("known_hosts", "user")
        self.process = None
        self.start()

    def slow_client(self, rate):
        """A client configuration whose way to the server carries `rate` bytes a second."""
        program = self.folder / "slow_line.py"
        program.write_text("import os, socket, sys, threading, time\n"
                           "port, rate = map(int, sys.argv[1:])\n"
                           "s = socket.create_connection((\"127.0.0.1\", port))\n"
                           "def back():\n"
                           "    while data := s.recv(65536):\n"
                           "        while data:\n"
                           "            data = data[os.write(1, data):]\n"
                           "    os._exit(0)\n"
                           "threading.Thread(target=back, daemon=True).start()\n"
                           "while data := os.read(0, 4096):\n"
                           "    s.sendall(data)\n"
                           "    time.sleep(len(data) / rate)\n")
        path = self.folder / "ssh_config_slow"
        path.write_text(self.config.read_text() + f" ProxyCommand {sys.executable} '{program}' %p {rate}\n")
        return path

    def client(self, hosts, identity):
        path = self.folder / f"ssh_config_{hosts}_{identity}"
        path.write_text(f"Host store\n HostName 127.0.0.1\n Port {self.port}\n User {getpass.getuser()}\n"
                        f" IdentityFile \"{self.folder}/{identity}\"\n IdentitiesOnly yes\n IdentityAgent none\n"
                        f" UserKnownHostsFile \"{self.folder}/{hosts}\"\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n")
        return path

    def start(self):
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where its children are locked in
        with open(self.folder / "log", "ab") as log:
            # It dies with us.
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f",
                                             self.folder / "sshd_config"], stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(600):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                raise SystemExit("FAILED: sshd ended: " + (self.folder / "log").read_text())
            time.sleep(0.05)
        raise SystemExit("FAILED: sshd does not listen")

    def sessions(self):
        """Process numbers of all that serves a connection: the server's children and theirs."""
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()[1])
                except OSError:
                    pass  # it has ended
        found, wave = [], {self.process.pid}
        while wave:
            wave = {pid for pid, parent in parents.items() if parent in wave}
            found += wave
        return found

    def cut(self):
        """Every connection ends here and now; how many processes that took."""
        pids = self.sessions()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return len(pids)

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process = None
