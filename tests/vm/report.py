"""What a suite says: a line for each check, and the sum at the end."""
import sys
import time
import traceback


class Failure(Exception):
    """A check did not hold; the text says how."""


class Skip(Exception):
    """A check is not possible here; the text says why."""


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, function, *arguments):
        """Runs a check; True if it held."""
        started = time.monotonic()
        try:
            note = function(*arguments)
        except Skip as why:
            self.skipped += 1
            print(f"skip {name}: {why}", flush=True)
            return True
        except Failure as failure:
            self._fail(name, str(failure))
        except Exception:  # pylint: disable=broad-exception-caught
            self._fail(name, traceback.format_exc())
        else:
            self.passed += 1
            seconds = time.monotonic() - started
            print(f"ok   {name} ({f'{note}; ' if note else ''}{seconds:.1f} s)", flush=True)
            return True
        return False

    def _fail(self, name, text):
        self.failed += 1
        print(f"FAIL {name}", flush=True)
        for line in text.splitlines():
            print(f"     {line}", flush=True)

    def end(self):
        """Prints the sum and ends the program: 0 if nothing failed."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed else 0)


def wants(condition, text):
    if not condition:
        raise Failure(text)


def wants_equal(what, got, wanted):
    wants(got == wanted, f"{what}: wanted {wanted!r}, got {got!r}")


def wants_part(what, text, *parts):
    """Every one of `parts` stands in `text`."""
    for part in parts:
        wants(part in text, f"{what}: {part!r} is not in {text!r}")
