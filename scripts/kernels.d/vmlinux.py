#!/usr/bin/env python3
"""Extracts the uncompressed ELF image from a bzImage: QEMU boots it over PVH in half the time.

usage: vmlinux.py BZIMAGE VMLINUX

The payload's place is in the setup header (Documentation/arch/x86/boot.rst): payload_offset at 0x248 and
payload_length at 0x24c, counted from the end of the setup sectors (their number at 0x1f1, 0 meaning 4).
The kernel build appends the unpacked size, 4 bytes, to the formats that do not carry it themselves.
"""
import struct
import subprocess
import sys

DECOMPRESSORS = (  # magic, command, bytes appended by the kernel build
    (b"\xfd7zXZ\0", ["xz", "-dc", "--single-stream"], 4),
    (b"\x28\xb5\x2f\xfd", ["zstd", "-dc"], 4),
    (b"\x02\x21\x4c\x18", ["lz4", "-dc"], 4),
    (b"\x1f\x8b", ["gzip", "-dc"], 0),
)


def main(source, destination):
    with open(source, "rb") as file:
        image = file.read()
    if image[0x202:0x206] != b"HdrS":
        sys.exit(f"{source}: not a bzImage")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    for magic, command, appended in DECOMPRESSORS:
        if payload.startswith(magic):
            break
    else:
        sys.exit(f"{source}: unknown compression {payload[:6].hex()}")
    # xz reports the trailing size as garbage even with --single-stream on some versions: the ELF magic decides.
    run = subprocess.run(command, input=payload[: len(payload) - appended], stdout=subprocess.PIPE, check=False)
    if not run.stdout.startswith(b"\x7fELF"):
        sys.exit(f"{source}: {command[0]} gave no ELF image (status {run.returncode})")
    with open(destination, "wb") as file:
        file.write(run.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
