"""Repositories on REST servers: `rclone serve restic`, with a password, and append-only. SIZE: see life.py."""
import servers
from common import *
from life import Machine, Place, adopt, live, live_without_removing


def serve(server, *options):
    server.stop()
    server.options = options
    server.start()


def main():
    with folder() as work:
        machine = Machine(work)
        with servers.rest("--user", "me", "--pass", "a/b@c") as server:
            place = Place(f"rest:http://me:a%2Fb%40c@{server.address}/one/")
            live(place, machine)
            denied = run([RESPALDO, "-r", f"rest:http://me:wrongword@{server.address}/one/", "list"], expect=None)
            need(denied.returncode != 0 and "401" in denied.stderr, f"wrong credentials are not named: {denied.stderr}")
            need("wrongword" not in denied.stdout + denied.stderr, "a password is shown")
            ENV.update(RESTIC_REST_USERNAME="me", RESTIC_REST_PASSWORD="a/b@c")
            # Debian's restic does not know these variables: it gets an address with the password, we one without.
            need(len(backups(f"rest:http://{server.address}/one/")) == 2, "the variables are not heard")
            adopt(Place(f"rest:http://me:a%2Fb%40c@{server.address}/two/"), machine)
        with servers.rest("--append-only") as server:
            place = Place(f"rest:{server.url}")
            place.respaldo("init")
            live_without_removing(place, machine, "append-only")
            # What was forgotten elsewhere cannot be pruned through it.
            serve(server)
            machine.change()
            place.respaldo("forget", machine.back_up(place, "forgotten")[0])
            serve(server, "--append-only")
            there = [sorted(place.restic("list", kind).stdout.split()) for kind in ("packs", "index")]
            for how in (["--max-unused", "0"], ["--max-repack-size", "0"]):
                said = place.respaldo("prune", *how, expect=1)
                need("append-only" in said.stderr, f"prune does not say why it cannot: {said.stderr}")
                need(there == [sorted(place.restic("list", kind).stdout.split()) for kind in ("packs", "index")],
                     "what cannot go was stored a second time")
            place.restic("check", "--read-data")
    print("lived on REST servers")


main()
