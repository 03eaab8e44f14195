//! What each family of distributions calls its packages: the one table of them.

use super::host::Host;

/// Distributions that install alike.
pub struct Family {
    /// Words of `ID` and `ID_LIKE` in os-release.
    ids: &'static [&'static str],
    /// Installs packages; they follow.
    install: &'static str,
    /// Packages of the kernel's headers; `{release}` is the kernel's, `{flavour}` what follows its last dash.
    pub headers: &'static str,
    pub compiler: &'static str,
}

const FAMILIES: [Family; 5] = [
    Family {
        ids: &["debian", "ubuntu"],
        install: "apt-get install",
        headers: "linux-headers-{release}",
        compiler: "gcc",
    },
    Family {
        ids: &["rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn"],
        // Old ones have yum alone, new ones know it as another name of dnf.
        install: "yum install",
        headers: "kernel-devel-{release} elfutils-libelf-devel",
        compiler: "gcc",
    },
    Family {
        ids: &["suse", "sles", "opensuse"],
        install: "zypper install",
        headers: "kernel-{flavour}-devel",
        compiler: "gcc",
    },
    Family { ids: &["arch"], install: "pacman -S", headers: "linux-headers", compiler: "gcc" },
    Family { ids: &["alpine"], install: "apk add", headers: "linux-{flavour}-dev", compiler: "gcc musl-dev" },
];

/// The family of a host; None when os-release names none of the table.
pub fn of(host: &Host) -> Option<&'static Family> {
    let (id, like) = (host.os("ID").unwrap_or_default(), host.os("ID_LIKE").unwrap_or_default());
    let mut names = std::iter::once(id.as_str()).chain(like.split_whitespace());
    // opensuse-leap and its kin.
    let is =
        |known: &str, name: &str| name == known || name.strip_prefix(known).is_some_and(|rest| rest.starts_with('-'));
    names.find_map(|name| FAMILIES.iter().find(|family| family.ids.iter().any(|known| is(known, name))))
}

/// The command that installs what `packages` picks from the family; a sentence where the family is unknown.
pub fn install(host: &Host, what: &str, packages: impl Fn(&Family) -> &'static str) -> String {
    let Some(family) = of(host) else {
        return format!("# this distribution is not known here: install {what} with its package manager");
    };
    let flavour = host.release.rsplit_once('-').map_or("default", |(_, flavour)| flavour);
    let names = packages(family).replace("{release}", &host.release).replace("{flavour}", flavour);
    format!("{} {names}", family.install)
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;

    #[test]
    fn each_distribution_is_told_its_own_command() {
        for (os, release, expected) in [
            ("ID=debian", "6.1.0-9-amd64", "apt-get install linux-headers-6.1.0-9-amd64"),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"",
                "6.8.0-31-generic",
                "apt-get install linux-headers-6.8.0-31-generic",
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                "4.18.0-553.el8_10.x86_64",
                "yum install kernel-devel-4.18.0-553.el8_10.x86_64 elfutils-libelf-devel",
            ),
            (
                "ID=amzn\nID_LIKE=\"centos rhel fedora\"",
                "5.10.1-1.amzn2.x86_64",
                "yum install kernel-devel-5.10.1-1.amzn2.x86_64 elfutils-libelf-devel",
            ),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"",
                "6.4.0-150600.21-default",
                "zypper install kernel-default-devel",
            ),
            ("ID=opensuse-tumbleweed", "6.9.1-1-rt", "zypper install kernel-rt-devel"),
            ("ID=alpine", "6.6.30-0-lts", "apk add linux-lts-dev"),
        ] {
            let fake = Fake::new(release);
            fake.put("/etc/os-release", os);
            assert_eq!(install(&fake.host(), "the headers", |f| f.headers), expected, "{os}");
        }
        let fake = Fake::new("6.1");
        fake.put("/etc/os-release", "ID=slackware");
        assert!(
            install(&fake.host(), "the headers", |f| f.headers)
                .contains("install the headers with its package manager")
        );
    }
}
