"""delay_requests.py SECONDS COMMAND...: the command, and what it is sent comes so much later. Nothing else is slower."""
import fcntl
import os
import queue
import subprocess
import sys
import threading
import time

CHUNK = 1 << 20


def deliver(waiting, pipe):
    while True:
        when, data = waiting.get()
        time.sleep(max(0, when - time.monotonic()))
        if not data:
            pipe.close()
            return
        try:
            while data:
                data = data[pipe.write(data):]
        except OSError:
            return


def main():
    child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, bufsize=0)
    for pipe in (child.stdin, sys.stdin):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
        except OSError:
            pass  # no pipe
    waiting = queue.Queue(maxsize=4096)
    threading.Thread(target=deliver, args=(waiting, child.stdin), daemon=True).start()
    data = True
    while data:
        data = os.read(0, CHUNK)
        waiting.put((time.monotonic() + float(sys.argv[1]), data))
    sys.exit(child.wait())


main()
