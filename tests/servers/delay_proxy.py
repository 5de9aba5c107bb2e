"""TCP proxies that add time and take no bandwidth away: to each request of HTTP, or to all that a line carries."""
import contextlib
import fcntl
import os
import queue
import select
import socket
import threading
import time

METHODS = (b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE")
CHUNK = 1 << 20
PEEK = 4096


class DelayProxy:
    """Each request waits `delay` seconds before it goes on. `log` has when each came, and its method and path."""

    def __init__(self, target, delay):
        self.target, self.delay, self.log = target, delay, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(self.target)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.carry(client, server)
        except OSError:
            pass
        client.close()
        server.close()

    def carry(self, client, server):
        # The kernel hands the bytes on, or this program's work would be taken for the line's.
        ends = os.pipe()
        try:
            with contextlib.suppress(OSError):  # users may have so much memory in pipes
                fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, CHUNK)
            idle, left = True, True
            while left:
                for side in select.select([client, server], [], [])[0]:
                    if side is client and idle and (start := side.recv(PEEK, socket.MSG_PEEK))[:4] in METHODS:
                        self.log.append((time.monotonic(), start.split(b" HTTP/", 1)[0].decode(errors="replace")))
                        time.sleep(self.delay)
                    idle = side is server
                    left = os.splice(side.fileno(), ends[1], CHUNK)
                    if not left:
                        break
                    other = server if side is client else client
                    moved = left
                    while moved:
                        moved -= os.splice(ends[0], other.fileno(), moved)
        finally:
            for end in ends:
                os.close(end)


class DelayLine(DelayProxy):
    """All that goes one way comes `delay`/2 later: a round trip takes `delay` longer."""

    def carry(self, client, server):
        # Both directions at once; what is read waits in a queue, with the time at which it goes on.
        threads = [threading.Thread(target=self.one_way, args=ends, daemon=True) for ends in ((client, server), (server, client))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def one_way(self, source, target):
        waiting = queue.Queue(maxsize=4096)
        threading.Thread(target=self.deliver, args=(waiting, target), daemon=True).start()
        data = True
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.delay / 2, data))

    def deliver(self, waiting, target):
        data = alive = True
        while data:  # to the end, or the reader would wait for a target that has gone
            when, data = waiting.get()
            time.sleep(max(0, when - time.monotonic()))
            try:
                if alive:
                    target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
            except OSError:
                alive = False
