"""The .rpm of a stage."""
import glob
import os
import shutil
import subprocess
import time

from stage import newest_commit

RELEASE = "1"

SPEC = """\
Name: {name}
Version: {version}
Release: {release}
Summary: {summary}
License: {license}
Vendor: {vendor}
{relations}
# Programs come stripped, sources and shells' completions make no requirements.
%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
%global _build_id_links none
# What rpm 4.11 reads.
%global _binary_payload w6.xzdio
%global _source_filedigest_algorithm 8
%global _binary_filedigest_algorithm 8
%global __requires_exclude_from ^/usr/(src|share)/.*$

%description
{description}

%install
cp -a {root}/. %{{buildroot}}/

%files
{files}

%post
{hooks}
if [ "$1" -eq 1 ]; then
	after_install first
else
	other_versions
	after_install upgrade
fi
exit 0

%preun
{hooks}
[ "$1" -ne 0 ] || before_remove
exit 0

%postun
{hooks}
[ "$1" -ne 0 ] || after_remove
exit 0

%changelog
* {day} {vendor} - {version}-{release}
- See {documents}/changelog.gz.
"""


def make(stage, work, out):
    os.makedirs(work)
    described = stage.described
    relations = [f"Requires: {name}" for name in described["rpm"]["requires"]]
    relations += [f"Recommends: {name}" for name in described["rpm"]["recommends"]]
    lines = [f"%dir %attr({stage.folders.get(path, '755')},root,root) {path}" for path in stage.folders_of_ours()]
    for path, mode in sorted(stage.modes.items()):
        kind = "%config(noreplace) " if path in stage.conffiles else "%doc " if "/share/doc/" in path else ""
        lines.append(f"{kind}%attr({mode},root,root) {path}")
    spec = SPEC.format(
        name=stage.name, version=stage.version, release=RELEASE, summary=described["summary"], license=described["license"],
        vendor=stage.common["vendor"], relations="\n".join(relations), description=described["description"].strip(),
        day=time.strftime("%a %b %d %Y", time.gmtime(newest_commit(stage.tree))), documents=f"/usr/share/doc/{stage.name}",
        root=stage.root, files="\n".join(lines),
        # A percent sign would begin a macro.
        hooks=stage.hooks().replace("%", "%%"),
    )
    with open(f"{work}/{stage.name}.spec", "w", encoding="utf-8") as file:
        file.write(spec)
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", "--define", f"_rpmdir {work}/rpms"]
    subprocess.run([*command, f"{work}/{stage.name}.spec"], check=True, stdout=subprocess.DEVNULL)
    (built,) = glob.glob(f"{work}/rpms/*/*.rpm")
    return shutil.copy(built, out)
