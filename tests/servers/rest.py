"""Repositories on REST servers: `rclone serve restic`, open, with a password and TLS, and append-only."""
import servers
from common import *
from life import Machine, adopt, live, live_without_removing


def main():
    with folder() as work:
        machine = Machine(work)
        with servers.rest("--user", "me", "--pass", "a/b@c") as server:
            location = f"rest:http://me:a%2Fb%40c@{server.address}/one/"
            live(location, machine)
            denied = run([RESPALDO, "-r", f"rest:http://me:wrongword@{server.address}/one/", "list"], expect=None)
            need(denied.returncode != 0 and "401" in denied.stderr, f"wrong credentials are not named: {denied.stderr}")
            need("wrongword" not in denied.stdout + denied.stderr, "a password is shown")
            ENV.update(RESTIC_REST_USERNAME="me", RESTIC_REST_PASSWORD="a/b@c")
            # Debian's restic does not know these variables: it gets an address with the password, we one without.
            need(len(backups(f"rest:http://{server.address}/one/")) == 2, "the variables are not heard")
            adopt(f"rest:http://me:a%2Fb%40c@{server.address}/two/", machine)
        with servers.rest("--append-only") as server:
            live_without_removing(f"rest:{server.url}", machine, "append-only")
    print("lived on REST servers")


main()
