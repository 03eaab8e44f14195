"""What a kernel log says about the kernel's health."""
import re

_PREFIX = r"^(?:<\d>)?(?:\[ *\d+\.\d+\])?(?:\[ *[TC]\d+\])? *"

# A report of the kernel about itself, by the first line of it. Text that a test writes to /dev/kmsg has to
# start like one to be taken for one.
_SPLAT = re.compile(
    _PREFIX
    + r"(?:"
    + r"|".join(
        (
            r"BUG: ",  # KASAN, sleeping function, scheduling while atomic, soft lockup, null dereference
            r"WARNING: (?!Spectre)",  # WARN_ON and all of lockdep's
            r"INFO: (?:task|rcu_|trying to register|possible|suspicious|NMI)",
            r"rcu: INFO: ",
            r"kernel BUG at ",
            r"Oops\b",
            r"UBSAN: ",
            r"KASAN: ",
            r"KCSAN: ",
            r"KFENCE: ",
            r"ODEBUG: ",
            r"refcount_t: ",
            r"list_(?:add|del) corruption",
            r"general protection fault",
            r"stack segment",
            r"double fault",
            r"unable to handle ",
            r"Unable to handle ",
            r"Kernel panic",
            r"DEBUG_LOCKS_WARN_ON",
            r"\[ BUG: ",
            r"kmemleak: \d+ new suspected memory leaks",
            r"watchdog: BUG",
            r"=+\s*$",  # the rule above lockdep's and KASAN's reports
        )
    )
    + r")"
)
_END_OF_TRACE = re.compile(r"---\[ end trace|^.*</TASK>")
_LONGEST = 120  # lines shown of one report


def splats(log):
    """The reports in `log`, as one string; empty when there are none."""
    lines = log.replace("\r", "").split("\n")
    shown, until = [], -1
    for number, line in enumerate(lines):
        if _SPLAT.match(line) and number > until:
            until = number + _LONGEST
        if number <= until:
            shown.append(line)
            if _END_OF_TRACE.search(line):
                until = number
    return "\n".join(shown)


_INT3 = re.compile(_PREFIX + r"(?:Oops: )?int3: ")
_TRAPPED = re.compile(_PREFIX + r"Code: .*\b([0-9a-f]{2}) <[0-9a-f]{2}>")


def is_stale_breakpoint(log):
    """Whether the kernel died of a breakpoint that is not there: the emulator's fault.

    The kernel switches tracepoints by writing a breakpoint over an instruction and then the new instruction over that. QEMU
    before 8.1 does not hold a page's lock while it translates code, so a processor may go on with a translation of the
    breakpoint after all of them have been told that it is gone. The report then shows another byte where the trap was.
    """
    lines = log.replace("\r", "").split("\n")
    first = next((number for number, line in enumerate(lines) if _SPLAT.match(line) or _INT3.match(line)), None)
    if first is None or not _INT3.match(lines[first]):
        return False
    trapped = next(filter(None, map(_TRAPPED.match, lines[first:])), None)
    return trapped is not None and trapped.group(1) != "cc"


def tail(log, lines=60):
    return "\n".join(log.replace("\r", "").rstrip("\n").split("\n")[-lines:])
