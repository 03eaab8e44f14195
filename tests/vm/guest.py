"""The guest a suite runs in: its module, its processors, the programs that tests are made with.

As a program, on the host: compiles those programs, which the slow guest would otherwise do.
"""
import os
import shutil
import subprocess
import sys
import time

from report import Failure, wants

HERE = os.path.dirname(os.path.realpath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
KERNEL = os.environ.get("FALCO_SENSOR_KERNEL", "")
MODULE = os.environ.get("FALCO_SENSOR_KMOD", "")
NAME = "falco_sensor"
WORK = "/run/falco-sensor-tests"
# What tests are made with, and its sources.
PROGRAMS = {
    "puppet": ["tests/vm/puppets/puppet.c"],
    "reader": ["tests/vm/reader.c", "kmod/syscalls.c"],
    "hostile": ["tests/vm/lifecycle/hostile.c"],
    "act": ["tests/vm/scenarios/act.c"],
}
# It runs where there is no C library.
STATIC = ("act",)


def must_be_guest():
    if os.geteuid() != 0 or not KERNEL:
        sys.exit(f"{sys.argv[0]}: wants to be root in a guest: scripts/vm KERNEL -- {sys.argv[0]}")
    if not os.path.exists(MODULE):
        sys.exit(f"{sys.argv[0]}: no module at {MODULE}: scripts/kmod {KERNEL}")
    os.makedirs(WORK, exist_ok=True)


def run(*command, wanted=0, timeout=120):
    """Runs a program; its output, both streams. `wanted` is its exit status; None: any."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=timeout, check=False,
    )
    if wanted is not None and done.returncode != wanted:
        raise Failure(f"{' '.join(command)} ended with {done.returncode}, not {wanted}:\n{done.stdout}")
    return done.stdout


def compiled(name):
    """A program of PROGRAMS in target/tests, compiled if it is older than its sources."""
    target = f"{REPOSITORY}/target/tests/{name}"
    sources = [f"{REPOSITORY}/{source}" for source in PROGRAMS[name]]
    headers = [f"{REPOSITORY}/kmod/{header}" for header in ("abi.h", "syscalls.h")]
    if os.path.exists(target) and os.path.getmtime(target) > max(os.path.getmtime(path) for path in sources + headers):
        return target
    os.makedirs(os.path.dirname(target), exist_ok=True)
    made = f"{target}.{os.uname().nodename}.{os.getpid()}"  # several guests may be at it
    run(
        os.environ.get("CC", "gcc"), "-O1", "-Wall", "-Wextra", "-Werror", f"-I{REPOSITORY}/kmod",
        *(["-static"] if name in STATIC else []), "-o", made, *sources, "-lpthread", timeout=600,
    )
    os.rename(made, target)
    return target


def program(name):
    """Such a program in the guest's own memory."""
    path = f"{WORK}/{name}"
    if not os.path.exists(path):
        shutil.copy(compiled(name), path)
    return path


def is_loaded():
    return os.path.exists(f"/sys/module/{NAME}")


def insert(module=MODULE):
    if not is_loaded():
        run("insmod", module)


def remove(patience=60):
    """Takes the module out; a file closed a moment ago may hold it for a little."""
    end = time.monotonic() + patience
    while is_loaded():
        text = run("rmmod", NAME, wanted=None)
        if not is_loaded():
            return
        wants(time.monotonic() < end, f"the module cannot be removed: {text}")
        time.sleep(0.05)


def consumer():
    """Pid that has the device open, 0 for none."""
    with open(f"/sys/module/{NAME}/parameters/consumer", encoding="ascii") as file:
        return int(file.read())


def wait_for(what, condition, patience=120, pause=0.02):
    end = time.monotonic() + patience
    while not condition():
        wants(time.monotonic() < end, f"{what}: not within {patience} s")
        time.sleep(pause)


def online():
    return sorted(os.sched_getaffinity(0))


if __name__ == "__main__":
    for one in PROGRAMS:
        print(compiled(one))
