"""The programs of the packages: built against an old glibc, and checked to be."""
import os
import re
import shutil
import subprocess
import sys

# Tools from PyPI; together they link for any version of glibc.
TOOLS = ("cargo-zigbuild==0.24.1", "ziglang==0.17.1")
TARGET = "x86_64-unknown-linux-gnu"


def cache():
    environment = os.environ
    base = environment.get("XDG_CACHE_HOME") or f"{os.path.expanduser('~')}/.cache"
    return environment.get("FALCO_SENSOR_CACHE") or f"{base}/falco-sensor"


def tools():
    """Where the tools are, after fetching them if they are not there."""
    folder = f"{cache()}/tools/{'+'.join(TOOLS).replace('==', '-')}"
    if not os.path.exists(f"{folder}/ready"):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"package: fetching {' '.join(TOOLS)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([f"{folder}/bin/pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *TOOLS], check=True)
        with open(f"{folder}/ready", "w", encoding="utf-8"):
            pass
    return folder


def build(tree, target, glibc, wanted):
    """Compiles the programs; returns their folder."""
    folder = tools()
    environment = dict(os.environ, FALCO_SENSOR_KMOD="0", CARGO_TARGET_DIR=target)
    environment["PATH"] = f"{folder}/bin:{environment['PATH']}:{os.path.expanduser('~')}/.cargo/bin"
    command = ["cargo", "zigbuild", "--release", "--locked", "--target", f"{TARGET}.{glibc}"]
    if "falco-hub" not in wanted:
        command.append("--no-default-features")
    for program in wanted:
        command += ["--bin", program]
    subprocess.run(command, cwd=tree, env=environment, check=True)
    return f"{target}/{TARGET}/release"


def check_glibc(program, limit):
    """Ends with a sentence when a program asks for a newer glibc."""
    shown = subprocess.run(["objdump", "-T", program], stdout=subprocess.PIPE, text=True, check=True).stdout

    def number(version):
        return tuple(int(part) for part in version.split("."))

    versions = set(re.findall(r"\(?GLIBC_(\d[\d.]*)\)?", shown))
    if not versions:
        sys.exit(f"package: {program}: no symbols of glibc found: what is this?")
    newest = max(versions, key=number)
    print(f"package: {os.path.basename(program)}: newest symbol GLIBC_{newest}", file=sys.stderr)
    if number(newest) > number(limit):
        wanting = sorted(line.split()[-1] for line in shown.splitlines() if f"GLIBC_{newest}" in line)
        sys.exit(f"package: {program} wants glibc {newest}, newer than {limit}: {' '.join(wanting)}")


def tree_of_version(repository, folder, old, new):
    """A copy of the repository whose programs and module call themselves `new`."""
    listed = subprocess.run(["git", "-C", repository, "ls-files", "-z"], stdout=subprocess.PIPE, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if os.path.exists(f"{repository}/{name}"):
            os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
            shutil.copy2(f"{repository}/{name}", f"{folder}/{name}", follow_symlinks=False)
    for name, pattern in (
        ("Cargo.toml", rf'(?m)^version = "{re.escape(old)}"'),
        ("Cargo.lock", rf'(?<=name = "falco-sensor"\n)version = "{re.escape(old)}"'),
        ("kmod/main.c", rf'(?<=#define FSN_VERSION )"{re.escape(old)}"'),
    ):
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            text = file.read()
        text, count = re.subn(pattern, lambda match: match[0].replace(old, new), text, count=1)
        if not count:
            sys.exit(f"package: {name} does not name version {old}")
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    return folder
