"""A TCP proxy before an HTTP server that spoils exchanges: resets, stalls, cut answers, statuses of its own."""
import random
import select
import socket
import struct
import threading
import time

METHODS = (b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE")


class FaultyProxy:
    """Each new request may draw a fault, by `chance`, until `faults` have been done; others pass. `kinds` names what is drawn."""
    KINDS = ("reset before", "reset in request", "reset in answer", "cut answer", "lost answer", "500", "503", "429", "stall", "slow")

    def __init__(self, target, seed, kinds=KINDS):
        self.target, self.kinds = target, kinds
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.left, self.chance, self.done = 0, 0.0, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, faults, chance):
        with self.lock:
            self.left, self.chance = faults, chance

    def draw(self, first):
        with self.lock:
            if self.left <= 0 or self.random.random() >= self.chance:
                return None, 0
            self.left -= 1
            kind = self.random.choice(self.kinds)
            self.done.append((kind, first.split(b"\r\n")[0].decode(errors="replace")))
            # Small and large exchanges both get theirs.
            return kind, self.random.choice((0, 1, 100, 2000, 50_000, 1_000_000))

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(self.target, timeout=10)
        except OSError:
            reset(client)
            return
        server.settimeout(None)
        Exchange(self, client, server).run()

    def close(self):
        self.listener.close()


class Exchange:
    """One connection, in one thread: a reset is only sent when nobody else reads. Requests follow each other: what the client
    sends after an answer begins a new one."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.kind, self.after, self.idle = None, 0, True
        self.sent = self.answered = 0

    def run(self):
        going = True
        try:
            while going:
                ready, _, _ = select.select([self.client, self.server], [], [])
                going = all(self.request() if side is self.client else self.answer() for side in ready)
        except OSError:
            pass
        close(self.server)
        close(self.client)

    def request(self):
        """Hands on what the client sent; False when that was the end."""
        data = self.client.recv(65536)
        if not data:
            return False
        if self.idle and data[:4] in METHODS:
            self.idle, self.sent, self.answered = False, 0, 0
            self.kind, self.after = self.proxy.draw(data)
        if self.kind == "reset before":
            return reset(self.client)
        if self.kind in ("500", "503", "429"):
            return self.refuse(self.kind)
        if self.kind == "slow":
            time.sleep(0.2)
        self.sent += len(data)
        if self.kind == "reset in request" and self.sent > self.after:
            self.server.sendall(data[:len(data) // 2])
            return reset(self.client)
        self.server.sendall(data)
        return True

    def answer(self):
        data = self.server.recv(65536)
        if not data:
            return False
        self.idle = True
        if self.kind in ("reset in answer", "cut answer", "lost answer", "stall"):
            room = 0 if self.kind == "lost answer" else max(0, self.after - self.answered)
            if room < len(data):
                self.client.sendall(data[:room])
                return self.spoil()
        if self.kind == "slow":
            time.sleep(0.2)
        self.answered += len(data)
        self.client.sendall(data)
        return True

    def spoil(self):
        if self.kind == "stall":
            while self.client.recv(65536):  # until it gives up
                pass
        elif self.kind != "cut answer":
            reset(self.client)
        return False

    def refuse(self, status):
        """An answer of our own; the request is read as far as it comes, so that the answer is heard."""
        more = "Retry-After: 1\r\n" if status != "500" else ""
        self.client.sendall(f"HTTP/1.1 {status} No\r\n{more}Content-Length: 3\r\nConnection: close\r\n\r\nno\n".encode())
        self.client.shutdown(socket.SHUT_WR)
        self.client.settimeout(5)
        while self.client.recv(65536):
            pass
        return False


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # shutdown() would end it in order
    return False


def close(connection):
    try:
        connection.close()
    except OSError:
        pass
