"""The whole life of repositories on a real sshd, beside restic. SIZE: see life.py."""
import shlex

from common import *
from life import Machine, Place, adopt, live
from sshd import Sshd


def main():
    with folder() as work:
        server = Sshd(work / "ssh")
        try:
            machine = Machine(work)
            theirs = ["-o", f"sftp.command=ssh -F {shlex.quote(str(server.config))} -s store sftp"]
            ours = ["-o", f"sftp.args=-F '{server.config}'"]
            for path, life in ((work / "one", live), (work / "two", adopt)):
                life(Place(f"sftp:store:{path}", ours, theirs), machine)
        finally:
            server.cut()
            server.stop()
    print("lived on an SFTP server")


main()
