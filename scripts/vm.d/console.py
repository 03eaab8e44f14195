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


_STALL = re.compile(_PREFIX + r"rcu: INFO: \S+ (?:self-)?detected")


def is_stalled(log):
    """Whether a processor makes no progress. That is not going to change, and the run has failed."""
    return any(map(_STALL.match, log.replace("\r", "").split("\n")))


_INT3 = re.compile(_PREFIX + r"(?:Oops: )?int3: ")
_CODE = re.compile(_PREFIX + r"Code: (?P<before>[0-9a-f ]*)<(?P<at>[0-9a-f]{2})>(?P<after>[0-9a-f ]*)")
# What stands where a tracepoint, a static branch or a static call is switched: no-operation, jump, call.
_SWITCHED = re.compile(r"0f 1f 44 00 00|66 90|e9|eb|e8")


def is_stale_breakpoint(log):
    """Whether the kernel died of a breakpoint that is not there, or runs into it for ever: the emulator's fault.

    The kernel switches tracepoints by writing a breakpoint over an instruction and then the new instruction over that. QEMU
    before 8.1 does not hold a page's lock while it translates code, so a processor may go on with a translation of the
    breakpoint after all of them have been told that it is gone. A newer kernel dies of it; the report then shows another byte
    where the trap was. An older one goes back to the instruction, again and again; the stall's report then shows a processor
    at the start of an instruction that can be switched. With all processors in one thread (--one-thread) neither happens.
    """
    lines = log.replace("\r", "").split("\n")
    starts = (number for number, line in enumerate(lines) if _SPLAT.match(line) or _INT3.match(line))
    first = next(starts, None)
    if first is None:
        return False
    codes = [code for code in map(_CODE.match, lines[first:]) if code]
    if _INT3.match(lines[first]):
        return bool(codes) and not codes[0]["before"].endswith("cc ")
    if _STALL.match(lines[first]):
        return any(_SWITCHED.match(code["at"] + code["after"]) for code in codes)
    return False


def tail(log, lines=60):
    return "\n".join(log.replace("\r", "").rstrip("\n").split("\n")[-lines:])
