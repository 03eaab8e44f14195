"""A package's files laid out as they will be installed: what .deb and .rpm have in common."""
import gzip
import os
import shutil
import subprocess
import time

MODULE_SOURCES = (".c", ".h")


class Stage:
    """One package: `root` holds its files, `modes` their modes, `conffiles` those that are the operator's."""

    def __init__(self, name, described, common, version, tree, root):
        self.name, self.described, self.common, self.version = name, described, common, version
        self.tree, self.root = tree, root
        self.modes, self.folders, self.conffiles = {}, {}, []

    def lay_out(self, programs):
        for mode, source, destination in self.described["files"]:
            if source.startswith("bin/"):
                self._put(mode, f"{programs}/{os.path.basename(source)}", destination)
                subprocess.run(["strip", "--strip-unneeded", "--remove-section=.comment", self.path(destination)], check=True)
            else:
                self._put(mode, f"{self.tree}/{source}", destination)
        for mode, source, destination in self.described["conffiles"]:
            self._put(mode, f"{self.tree}/{source}", destination)
            self.conffiles.append(destination)
        for mode, folder in self.described["folders"]:
            os.makedirs(self.path(folder))
            os.chmod(self.path(folder), int(mode, 8))
            self.folders[folder] = mode
        if "source" in self.described:
            self._module_source(self.described["source"].replace("VERSION", self.version))

    def path(self, destination):
        return self.root + destination

    def hooks(self):
        """The shell functions of its scripts, with the version they are for."""
        with open(f"{self.tree}/packaging/scripts/{self.described['scripts']}.sh", encoding="utf-8") as file:
            return f"VERSION={self.version}\n" + file.read()

    def folders_of_ours(self):
        """Folders that are this package's alone."""
        found = set(self.folders)
        for destination in self.modes:
            parent = os.path.dirname(destination)
            while parent != "/":
                if any(part.startswith(self.name) for part in parent.split("/")):
                    found.add(parent)
                parent = os.path.dirname(parent)
        return sorted(found)

    def _module_source(self, folder):
        kmod = f"{self.tree}/kmod"
        for name in sorted(os.listdir(kmod)):
            if name.endswith(MODULE_SOURCES) and not name.endswith(".mod.c") or name in ("Kbuild", "Makefile"):
                self._put("644", f"{kmod}/{name}", f"{folder}/{name}")
        with open(f"{self.tree}/packaging/dkms/dkms.conf", encoding="utf-8") as file:
            self.write("644", f"{folder}/dkms.conf", file.read().replace("@VERSION@", self.version).encode())

    def _put(self, mode, source, destination):
        packed = destination.startswith("/usr/share/man/") or os.path.basename(destination) == "changelog"
        if packed:
            with open(source, "rb") as file:
                self.write(mode, destination + ".gz", gzip.compress(file.read(), mtime=0))
            return
        os.makedirs(os.path.dirname(self.path(destination)), exist_ok=True)
        shutil.copyfile(source, self.path(destination))
        self._keep(mode, destination)

    def write(self, mode, destination, content):
        os.makedirs(os.path.dirname(self.path(destination)), exist_ok=True)
        with open(self.path(destination), "wb") as file:
            file.write(content)
        self._keep(mode, destination)

    def _keep(self, mode, destination):
        os.chmod(self.path(destination), int(mode, 8))
        self.modes[destination] = mode


def newest_commit(tree):
    """Its time, so that the same sources give the same package; now, outside of a repository."""
    shown = subprocess.run(["git", "-C", tree, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False).stdout
    return int(shown) if shown.strip().isdigit() else int(time.time())
