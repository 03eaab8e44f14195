"""The .deb of a stage."""
import gzip
import hashlib
import os
import shutil
import subprocess
import time

from stage import newest_commit

REVISION = "1"

# What dpkg calls, with the words it calls them with (Debian Policy 6.5).
SCRIPTS = {
    "preinst": """
# Told apart from a package that was removed and is installed again: both have an old version.
flag=/run/{name}.first
case $1 in
install) : >"$flag" ;;
upgrade) rm -f "$flag" ;;
esac
""",
    "postinst": """
flag=/run/{name}.first
case $1 in
configure | abort-upgrade | abort-remove)
	if [ -e "$flag" ]; then
		rm -f "$flag"
		after_install first
	else
		after_install upgrade
	fi
	;;
esac
""",
    "prerm": """
case $1 in
remove) before_remove ;;
upgrade) before_upgrade ;;
esac
""",
    "postrm": """
case $1 in
remove) after_remove ;;
purge) purge ;;
esac
""",
}


def make(stage, work, out):
    root = f"{work}/root"
    shutil.copytree(stage.root, root)
    version = f"{stage.version}-{REVISION}"
    documents = f"{root}/usr/share/doc/{stage.name}"
    shutil.copyfile(f"{stage.tree}/packaging/copyright", f"{documents}/copyright")
    with open(f"{documents}/changelog.Debian.gz", "wb") as file:
        file.write(gzip.compress(changelog(stage, version).encode(), mtime=0))
    for name in ("copyright", "changelog.Debian.gz"):
        os.chmod(f"{documents}/{name}", 0o644)
    # Debian's zsh has another folder than everybody else's.
    theirs, debians = f"{root}/usr/share/zsh/site-functions", f"{root}/usr/share/zsh/vendor-completions"
    os.rename(theirs, debians)
    os.mkdir(f"{root}/DEBIAN", 0o755)
    write(root, "control", control(stage, root, version))
    write(root, "conffiles", "".join(f"{path}\n" for path in stage.conffiles))
    write(root, "md5sums", sums(root))
    for name, text in SCRIPTS.items():
        hooks = stage.hooks() if name != "preinst" else ""
        script = f"#!/bin/sh\nset -e\n{hooks}{text.replace('{name}', stage.name)}\nexit 0\n"
        write(root, name, script, 0o755)
    file = f"{out}/{stage.name}_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, file], check=True, stdout=subprocess.DEVNULL)
    return file


def control(stage, root, version):
    described = stage.described
    size = sum(os.path.getsize(f"{folder}/{name}") for folder, _, names in os.walk(root) for name in names)
    lines = [line or "." for line in described["description"].strip().splitlines()]
    return "\n".join([
        f"Package: {stage.name}",
        f"Version: {version}",
        "Architecture: amd64",
        f"Maintainer: {stage.common['maintainer']}",
        f"Installed-Size: {(size + 1023) // 1024}",
        f"Depends: {described['deb']['depends']}",
        f"Recommends: {described['deb']['recommends']}",
        f"Section: {described['section']}",
        "Priority: optional",
        f"Description: {described['summary']}",
        *(f" {line}" for line in lines),
    ]) + "\n"


def changelog(stage, version):
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(newest_commit(stage.tree)))
    return f"{stage.name} ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {stage.common['maintainer']}  {when}\n"


def sums(root):
    lines = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(f"{folder}/{name}", root)
            if not path.startswith(("DEBIAN/", "etc/")):
                with open(f"{folder}/{name}", "rb") as file:
                    lines.append(f"{hashlib.md5(file.read()).hexdigest()}  {path}\n")
    return "".join(sorted(lines, key=lambda line: line.split()[1]))


def write(root, name, text, mode=0o644):
    with open(f"{root}/DEBIAN/{name}", "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(f"{root}/DEBIAN/{name}", mode)
