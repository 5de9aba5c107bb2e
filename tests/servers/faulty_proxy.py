"""TCP proxies that spoil what goes through them: exchanges of HTTP (resets, stalls, cut answers, statuses of their own), or the
bytes of any protocol (resets, stalls, cuts, slow lines)."""
import random
import select
import socket
import struct
import threading
import time

METHODS = (b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE")


class FaultyProxy:
    """Each new request may draw a fault, by `chance`, until `faults` have been done; others pass. `kinds` names what is drawn,
    `places` after how many bytes. A fault that found nothing to spoil is not counted in `done`."""
    KINDS = ("reset before", "reset in request", "reset in answer", "cut answer", "lost answer", "500", "503", "429", "stall", "slow")
    PLACES = (0, 1, 100, 2000, 50_000, 1_000_000)  # small and large exchanges both get theirs

    def __init__(self, target, seed):
        self.target = target
        self.kinds, self.places = self.KINDS, self.PLACES
        self.only = METHODS                     # the requests that may draw one
        self.answers = {}                       # status: text of an answer of our own
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.left, self.chance, self.done = 0, 0.0, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, faults, chance, kinds=None, places=None, only=METHODS):
        with self.lock:
            self.left, self.chance, self.only = faults, chance, only
            self.kinds, self.places = kinds or self.KINDS, places or self.PLACES

    def disarm(self):
        self.arm(0, 0)

    def draw(self, first=METHODS[0]):
        with self.lock:
            if self.left <= 0 or first[:4] not in self.only or self.random.random() >= self.chance:
                return None, 0
            self.left -= 1
            return self.random.choice(self.kinds), self.random.choice(self.places)

    def bites(self, kind):
        with self.lock:
            self.done.append(kind)

    def give_back(self):
        with self.lock:
            self.left += 1

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
        self.connection(client, server).run()

    def connection(self, client, server):
        return Exchange(self, client, server)


class FaultyLine(FaultyProxy):
    """The same for bytes that mean nothing to us: each connection may draw a fault."""
    KINDS = ("reset", "cut", "stall", "slow")
    PLACES = (0, 100, 3000, 20_000, 200_000, 1_000_000, 4_000_000)

    def connection(self, client, server):
        return Line(self, client, server)


class Connection:
    """One connection, in one thread: a reset is only sent when nobody else reads."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.kind, self.after, self.bitten = None, 0, False

    def draw(self, *first):
        self.drop()
        self.kind, self.after = self.proxy.draw(*first)
        self.bitten = False

    def drop(self):
        if self.kind and not self.bitten:
            self.proxy.give_back()
        self.kind = None

    def bite(self):
        if not self.bitten:
            self.proxy.bites(self.kind)
        self.bitten = True

    def run(self):
        going = True
        try:
            self.begin()
            while going:
                ready, _, _ = select.select([self.client, self.server], [], [])
                going = all(self.request() if side is self.client else self.answer() for side in ready)
        except OSError:
            pass
        self.drop()
        close(self.server)
        close(self.client)

    def begin(self):
        pass

    def spoil(self):
        """Ends it; False."""
        self.bite()
        if self.kind == "stall":
            while self.client.recv(65536):  # until it gives up
                pass
        elif self.kind in ("cut", "cut answer"):
            self.say_goodbye()
        else:
            reset(self.client)
        return False

    def say_goodbye(self):
        """An end in order: what still comes is read, or it would become a reset."""
        self.client.shutdown(socket.SHUT_WR)
        self.client.settimeout(5)
        while self.client.recv(65536):
            pass


class Exchange(Connection):
    """Requests follow each other: what the client sends after an answer begins a new one."""
    idle = True
    sent = answered = 0

    def request(self):
        """Hands on what the client sent; False when that was the end."""
        data = self.client.recv(65536)
        if not data:
            return False
        if self.idle and data[:4] in METHODS:
            self.idle, self.sent, self.answered = False, 0, 0
            self.draw(data)
        if self.kind == "reset before":
            return self.spoil()
        if self.kind and self.kind.isdigit():
            return self.refuse(self.kind)
        if self.kind == "slow":
            self.bite()
            time.sleep(0.2)
        self.sent += len(data)
        if self.kind == "reset in request" and self.sent > self.after:
            self.server.sendall(data[:len(data) // 2])
            return self.spoil()
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

    def refuse(self, status):
        """An answer of our own; the request is read as far as it comes, so that the answer is heard."""
        self.bite()
        more = "Retry-After: 1\r\n" if status in ("503", "429") else ""
        text = self.proxy.answers.get(status, "no\n")
        self.client.sendall(f"HTTP/1.1 {status} No\r\n{more}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
        self.say_goodbye()
        return False


class Line(Connection):
    moved = 0

    def begin(self):
        self.draw()

    def request(self):
        return self.hand_on(self.client, self.server)

    def answer(self):
        return self.hand_on(self.server, self.client)

    def hand_on(self, source, target):
        data = source.recv(65536)
        if not data:
            return False
        if self.kind and self.moved + len(data) > self.after:
            if self.kind != "slow":
                return self.spoil()
            self.bite()
            time.sleep(0.02)
        self.moved += len(data)
        target.sendall(data)
        return True


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # shutdown() would end it in order


def close(connection):
    try:
        connection.close()
    except OSError:
        pass
