"""Where a guest's processor is, again and again, by QEMU's monitor; and what that is called."""
import bisect
import collections
import re
import socket
import threading
import time

_POINTER = re.compile(rb"RIP=([0-9a-f]{16})")
_PROMPT = b"(qemu) "
_KERNEL = 1 << 63
USER = "(programs)"


class Sampler:
    """A thread that asks for the first processor's registers, from when `is_wanted()` on until it is told to end."""

    INTERVAL = 0.002

    def __init__(self, path, is_wanted):
        self._path = path
        self._is_wanted = is_wanted
        self._pointers = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """The instruction pointers seen."""
        self._ended.set()
        self._thread.join()
        return self._pointers

    def _run(self):
        with socket.socket(socket.AF_UNIX) as monitor:
            while not self._ended.is_set():
                try:
                    monitor.connect(self._path)
                    break
                except OSError:
                    time.sleep(0.05)
            try:
                self._read(monitor)
                while not self._ended.wait(self.INTERVAL):
                    monitor.sendall(b"info registers\n")
                    found = _POINTER.search(self._read(monitor))
                    if found and self._is_wanted():
                        self._pointers.append(int(found.group(1), 16))
            except OSError:
                pass  # QEMU has ended

    @staticmethod
    def _read(monitor):
        answer = b""
        while not answer.endswith(_PROMPT):
            data = monitor.recv(1 << 16)
            if not data:
                raise OSError("the monitor is gone")
            answer += data
        return answer


def report(pointers, symbols, most=60):
    """A table of functions by share. `symbols`: the text of /proc/kallsyms."""
    names = sorted((int(words[0], 16), words[2]) for words in map(str.split, symbols) if words[1] in "tTwW")
    starts = [start for start, _ in names]
    counts = collections.Counter()
    for pointer in pointers:
        place = bisect.bisect_right(starts, pointer) - 1
        counts[USER if pointer < _KERNEL or place < 0 else names[place][1]] += 1
    total = sum(counts.values()) or 1
    lines = [f"{100 * count / total:6.2f} % {count:7}  {name}" for name, count in counts.most_common(most)]
    return "\n".join([*lines, f"{total} samples"])
