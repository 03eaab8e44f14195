"""What a guest's processor executes between one call of a function of the kernel and the next, instruction by instruction.

QEMU logs every block that is executed; with blocks of one instruction that is everything. Takes a hundred times as long as running, so it is
done for a moment in the middle of a load that repeats itself.
"""
import bisect
import collections
import os
import re
import socket
import threading
import time

_PROMPT = b"(qemu) "
_EXECUTED = re.compile(rb"Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
_KERNEL = 1 << 63
PROGRAMS = "(programs)"


class Recorder:
    """A thread that waits until the command has written the kernel's symbols to a file, records, and removes the file: the sign to end."""

    SECONDS = 1.5

    def __init__(self, monitor, function, symbols, log):
        self._monitor, self._function, self._symbols, self._log = monitor, function, symbols, log
        self._names = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """What was seen, as text."""
        self._ended.set()
        self._thread.join()
        return report(self._names, self._log, self._function) if self._names else "nothing was recorded"

    def _run(self):
        size = -1
        while not self._ended.wait(0.3):
            now = os.path.getsize(self._symbols) if os.path.exists(self._symbols) else 0
            if now and now == size:
                break
            size = now
        else:
            return
        with open(self._symbols, encoding="ascii") as file:
            names = sorted((int(words[0], 16), words[2]) for words in map(str.split, file) if words[1] in "tTwW")
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(self._monitor)
            self._answer(monitor)
            self._say(monitor, "stop", "singlestep on", f"logfile {self._log}", "log exec,nochain", "cont")
            time.sleep(self.SECONDS)
            self._say(monitor, "stop", "log none", "singlestep off", "cont")
        os.unlink(self._symbols)
        self._names = names

    def _say(self, monitor, *commands):
        for command in commands:
            monitor.sendall(command.encode() + b"\n")
            self._answer(monitor)

    @staticmethod
    def _answer(monitor):
        answer = b""
        while not answer.endswith(_PROMPT):
            data = monitor.recv(1 << 16)
            if not data:
                raise OSError("the monitor is gone")
            answer += data


def report(names, log, function):
    """`instructions  function` of the shortest round from one call of `function` to the next, the most first, and their sum."""
    starts = [start for start, _ in names]
    begins = {start for start, name in names if name == function}
    if not begins:
        return f"no function {function} among the symbols"
    with open(log, "rb") as file:
        pointers = [int(found.group(1), 16) for found in map(_EXECUTED.match, file) if found]
    calls = [place for place, pointer in enumerate(pointers) if pointer in begins]
    if len(calls) < 2:
        return f"{function} was not called twice while {len(pointers)} instructions were recorded"
    first, last = min(zip(calls, calls[1:]), key=lambda pair: pair[1] - pair[0])

    def name(pointer):
        place = bisect.bisect_right(starts, pointer) - 1
        return PROGRAMS if pointer < _KERNEL or place < 0 else names[place][1]

    counts = collections.Counter(map(name, pointers[first:last]))
    lines = [f"{count:7}  {name}" for name, count in counts.most_common()]
    return "\n".join([*lines, f"{last - first:7}  in one of {len(calls) - 1} rounds, the shortest"])
