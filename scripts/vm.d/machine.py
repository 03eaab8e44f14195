"""One run of QEMU: starts it, passes on what the guest's ports say, ends it."""
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time

import console as consoles
import executed
import profile_samples as profile

END_OF_CONSOLE = b"vm: end of console"
KERNEL_ARGUMENTS = (
    "console=ttyS0 loglevel=5 printk.devkmsg=on panic=-1 oops=panic nokaslr mitigations=off random.trust_cpu=on "
    "tsc=reliable no_timer_check nowatchdog rcupdate.rcu_expedited=1 rcupdate.rcu_cpu_stall_timeout=60"
)


class Result:
    """`status` is None when the guest did not get to the end of its command; then `why` says so."""

    def __init__(self):
        self.status = None
        self.why = None
        self.boot_seconds = None  # by the guest's clock, from the kernel's start to the command's
        self.console = ""
        self.qemu_messages = ""
        self.samples = ()  # instruction pointers, with --profile
        self.executed = None  # a text, with --executed


def command_line(options, vmlinux, initramfs, folder, console, shares, ports):
    accel = "tcg,thread=single" if options.icount or options.one_thread else "tcg,thread=multi"
    words = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
    words += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    words += ["-machine", "q35", "-cpu", "max,la57=off", "-accel", accel]
    words += ["-smp", str(options.smp), "-m", str(options.mem)]
    if options.icount:
        words += ["-icount", "shift=0,sleep=off"]
    words += ["-kernel", vmlinux, "-initrd", initramfs]
    words += ["-append", " ".join([KERNEL_ARGUMENTS, *options.append])]
    words += ["-serial", f"file:{console}"]
    # Files of several host file systems come through one export: remap keeps their inode numbers apart.
    for tag, path, access in shares:
        words += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{access}"]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    words += ["-device", "virtio-serial-pci"]
    if options.profile or options.executed:
        words += ["-chardev", f"socket,id=monitor,path={folder}/monitor,server=on,wait=off", "-mon", "monitor"]
    for name, descriptor in ports.items():
        words += ["-chardev", f"socket,id={name},fd={descriptor}"]
        words += ["-device", f"virtserialport,chardev={name},name={name}"]
    return words


def run(options, vmlinux, initramfs, folder, shares):
    """Boots, copies the command's output to file descriptors 1 and 2, waits for its end."""
    result = Result()
    console = options.console or f"{folder}/console"
    deadline = time.monotonic() + options.timeout
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        ports = {}
        for name in ("stdout", "stderr", "control"):
            ours, theirs = socket.socketpair()
            selector.register(stack.enter_context(ours), selectors.EVENT_READ, name)
            ports[name] = stack.enter_context(theirs)
        numbers = {name: port.fileno() for name, port in ports.items()}
        messages = stack.enter_context(open(f"{folder}/qemu", "wb+"))
        qemu = subprocess.Popen(
            command_line(options, vmlinux, initramfs, folder, console, shares, numbers),
            pass_fds=numbers.values(), stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
        )
        for port in ports.values():
            port.close()
        samples = stack.enter_context(profile.Sampler(f"{folder}/monitor", lambda: result.boot_seconds)) if options.profile else None
        recorder = None
        if options.executed:
            recorder = stack.enter_context(executed.Recorder(f"{folder}/monitor", *options.executed, f"{folder}/executed"))
        try:
            stall = None if options.allow_splat else _Stall(console)
            _relay(selector, result, deadline, stall)
            if result.status is not None:
                _await_console(console, qemu)
            elif stall and stall.seen:
                result.why = "a processor makes no progress"
            elif time.monotonic() >= deadline:
                result.why = f"no end after {options.timeout:g} s"
            else:
                result.why = f"the machine stopped (QEMU's status {qemu.wait()})"
        finally:
            if samples:
                result.samples = samples.end()
            if recorder:
                result.executed = recorder.end()
            qemu.send_signal(signal.SIGKILL)
            qemu.wait()
        messages.seek(0)
        result.qemu_messages = messages.read().decode(errors="replace")
    with contextlib.suppress(FileNotFoundError), open(console, encoding="utf-8", errors="replace") as file:
        result.console = file.read()
    return result


class _Stall:
    """Looks, now and then, whether the console tells of a processor that makes no progress."""

    INTERVAL = 10  # long enough, too, for the whole of the report to be there when `seen` turns true

    def __init__(self, console):
        self.console = console
        self.seen = False
        self.was = False

    def look(self):
        with contextlib.suppress(FileNotFoundError), open(self.console, encoding="utf-8", errors="replace") as file:
            now = consoles.is_stalled(file.read())
            self.seen, self.was = self.was and now, now
        return self.seen


def _relay(selector, result, deadline, stall):
    """Until the guest has said "exit", all ports have ended (QEMU is gone), the time is over or nothing goes on."""
    control = b""
    while selector.get_map():
        remaining = deadline - time.monotonic()
        ready = selector.select(max(0, min(remaining, _Stall.INTERVAL)))
        if not ready:
            if remaining <= _Stall.INTERVAL or (stall and stall.look()):
                return
            continue
        for key, _ in ready:
            data = key.fileobj.recv(1 << 16)
            if not data:
                selector.unregister(key.fileobj)
            elif key.data == "control":
                control += data
            else:
                _write_all(1 if key.data == "stdout" else 2, data)
        *lines, control = control.split(b"\n")
        for line in lines:
            word, value = line.split()
            if word == b"boot":
                result.boot_seconds = float(value)
            else:
                result.status = int(value)
        # The guest sends its status after all output, but on another port.
        if result.status is not None:
            deadline = time.monotonic() + (0.3 if any(key.data != "control" for key, _ in ready) else 0.05)


def _write_all(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _await_console(path, qemu, seconds=5):
    """Some kernels print from a thread: what was logged last may still be on its way."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and qemu.poll() is None:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 4096))
            if END_OF_CONSOLE in file.read():
                return
        time.sleep(0.02)
