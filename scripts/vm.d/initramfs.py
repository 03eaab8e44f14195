"""The guest's initramfs: busybox, the modules that reach the host's files, and what one run adds.

Written as a newc archive (Documentation/driver-api/early-userspace/buffer-format.rst).
"""
import lzma
import os
import shutil

# What leads to the host's file system and ports; those that a kernel has built in are skipped.
MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")

DIRECTORY, EXECUTABLE, PLAIN, DEVICE = 0o40755, 0o100755, 0o100644, 0o20600


class Archive:
    def __init__(self):
        self._out = bytearray()
        self._inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        self._append(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self._append(data)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return bytes(self._out)

    def _append(self, data):
        self._out += data
        self._out += b"\0" * (-len(self._out) % 4)


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def load_order(moddir, wanted):
    """Paths below `moddir` of the modules to insert, each after those it depends on."""
    depends = {}
    with open(f"{moddir}/modules.dep", encoding="ascii") as file:
        for line in file:
            path, needs = line.split(":")
            depends[module_name(path)] = (path, needs.split())
    order = []

    def insert(path):
        for needed in depends[module_name(path)][1][::-1]:
            if needed not in order:
                insert(needed)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in depends:
            insert(depends[name][0])
    return order


def read_module(path):
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def build(moddir, init, run_files):
    """The archive as bytes. `run_files` maps names below /vm to their content."""
    archive = Archive()
    for name in ("bin", "dev", "proc", "sys", "modules", "vm"):
        archive.add(name, DIRECTORY)
    archive.add("dev/console", DEVICE, device=(5, 1))
    archive.add("init", EXECUTABLE, init)
    with open(shutil.which("busybox"), "rb") as file:
        archive.add("bin/busybox", EXECUTABLE, file.read())
    order = load_order(moddir, MODULES)
    for path in order:
        archive.add(f"modules/{module_name(path)}.ko", PLAIN, read_module(f"{moddir}/{path}"))
    archive.add("modules/order", PLAIN, "".join(f"{module_name(path)}.ko\n" for path in order).encode())
    for name, content in run_files.items():
        archive.add(f"vm/{name}", PLAIN, content)
    return archive.finish()
