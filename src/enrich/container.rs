//! Which container a process is in, told by the paths of its control groups.
//!
//! A pure function of the paths: no runtime is asked, so it works for every runtime that follows one of the layouts
//! and gives id and type only. Components are looked at from the innermost outwards, so a process in a group of its
//! own inside a container (an init system there, nested containers) belongs to the innermost container.
//!
//! Where two runtimes share a layout (64 hex digits and nothing else) the surroundings decide: below a Kubernetes
//! group it is `cri`, else `docker`.

/// The runtime a path was recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Docker,
    Podman,
    /// A Kubernetes runtime that its path does not tell more about.
    Cri,
    CriO,
    Containerd,
    Lxc,
    LibvirtLxc,
    Bpm,
    Nspawn,
}

impl Kind {
    /// The text of `container.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
            Kind::Cri => "cri",
            Kind::CriO => "cri-o",
            Kind::Containerd => "containerd",
            Kind::Lxc => "lxc",
            Kind::LibvirtLxc => "libvirt-lxc",
            Kind::Bpm => "bpm",
            Kind::Nspawn => "systemd-nspawn",
        }
    }
}

/// A container found in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    pub kind: Kind,
    /// As the path has it: 64 hexadecimal digits, or a name.
    pub full_id: &'a [u8],
    /// The uid of the Kubernetes pod as the path has it (with `_` for `-` under systemd).
    pub pod_uid: Option<&'a [u8]>,
}

impl<'a> Container<'a> {
    /// The id rules see: the first 12 digits, or the whole name.
    pub fn id(&self) -> &'a [u8] {
        if is_hex_id(self.full_id) { &self.full_id[..12] } else { self.full_id }
    }
}

/// The container of a process whose control groups are at `paths`; None for a process of the host. The first path
/// that tells decides.
pub fn find<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Option<Container<'a>> {
    paths.into_iter().find_map(find_in_path)
}

fn find_in_path(path: &[u8]) -> Option<Container<'_>> {
    let mut end = path.len();
    loop {
        let start = memchr::memrchr(b'/', &path[..end])?;
        let component = &path[start + 1..end];
        let above = &path[..start];
        if !component.is_empty()
            && let Some((kind, full_id)) = of_component(component, above)
        {
            return Some(Container { kind, full_id, pod_uid: pod_uid(above) });
        }
        end = start;
    }
}

/// What one component, below the path `above`, says.
fn of_component<'a>(component: &'a [u8], above: &[u8]) -> Option<(Kind, &'a [u8])> {
    let scope = component.strip_suffix(b".scope");
    let unit = scope.unwrap_or(component);
    let hex = |rest: &'a [u8]| is_hex_id(rest).then_some(rest);
    let after = |prefix: &[u8]| unit.strip_prefix(prefix).and_then(hex);

    // Podman, its payload group or the container itself.
    if let Some(id) = after(b"libpod-payload-").or_else(|| after(b"libpod-")) {
        return Some((Kind::Podman, id));
    }
    if let Some(id) = scope.and_then(|_| after(b"docker-")) {
        return Some((Kind::Docker, id));
    }
    if let Some(id) = after(b"crio-") {
        return Some((Kind::CriO, id));
    }
    if let Some(id) = scope.and_then(|_| after(b"cri-containerd-").or_else(|| after(b"nerdctl-"))) {
        return Some((Kind::Containerd, id));
    }
    // containerd with the systemd driver but without systemd: slice:cri-containerd:ID.
    if let Some(at) = memchr::memmem::rfind(component, b":cri-containerd:")
        && let Some(id) = hex(&component[at + b":cri-containerd:".len()..])
    {
        return Some((Kind::Containerd, id));
    }
    if let Some(id) = hex(component) {
        let kubernetes = memchr::memmem::find(above, b"kubepods").is_some();
        return Some((if kubernetes { Kind::Cri } else { Kind::Docker }, id));
    }
    if let Some(name) = component.strip_prefix(b"lxc.payload.") {
        return Some((Kind::Lxc, name));
    }
    if above.ends_with(b"/libvirt/lxc") {
        return Some((Kind::LibvirtLxc, component));
    }
    if above.ends_with(b"/lxc") || above.ends_with(b"/lxc.payload") {
        return Some((Kind::Lxc, component));
    }
    if let Some(name) = component.strip_suffix(b".libvirt-lxc") {
        return Some((Kind::LibvirtLxc, name));
    }
    let scope = scope?;
    if let Some(at) = memchr::memmem::find(scope, br"-lxc\x2d") {
        // machine-lxc\x2dPID\x2dNAME.scope
        return Some((Kind::LibvirtLxc, &scope[at + br"-lxc\x2d".len()..]));
    }
    if let Some(name) = scope.strip_prefix(b"bpm-") {
        return Some((Kind::Bpm, name));
    }
    if above.ends_with(b"/machine.slice")
        && let Some(name) = scope.strip_prefix(b"machine-")
        && !name.starts_with(br"qemu\x2d")
    {
        return Some((Kind::Nspawn, name));
    }
    None
}

fn is_hex_id(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit)
}

/// `/kubepods/burstable/podUID` or `…/kubepods-burstable-podUID.slice`.
fn pod_uid(above: &[u8]) -> Option<&[u8]> {
    above.split(|b| *b == b'/').rev().find_map(|component| {
        let component = component.strip_suffix(b".slice").unwrap_or(component);
        let uid = match component.strip_prefix(b"pod") {
            Some(uid) => uid,
            None => {
                // Also inside crio's and containerd's "kubepods-…-podUID.slice:cri-containerd:ID".
                let at = memchr::memmem::rfind(component, b"-pod")?;
                &component[at + 4..]
            }
        };
        (uid.len() == 36 && uid.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'))
            || uid.len() == 32 && uid.iter().all(u8::is_ascii_hexdigit))
        .then_some(uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "27a0b1e4-2f0c-4a6b-8b2c-9f1f0e5d3c77";
    const POD_SYSTEMD: &str = "27a0b1e4_2f0c_4a6b_8b2c_9f1f0e5d3c77";

    fn found(path: &str) -> Option<(Kind, String, Option<String>)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        find([path.as_bytes()]).map(|c| (c.kind, text(c.id()), c.pod_uid.map(text)))
    }

    #[test]
    fn layouts_of_hex_ids() {
        let short = &ID[..12];
        for (path, kind) in [
            (format!("/docker/{ID}"), Kind::Docker),
            (format!("/system.slice/docker-{ID}.scope"), Kind::Docker),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope"), Kind::Docker),
            (format!("/docker/{ID}/system.slice/cron.service"), Kind::Docker),
            (format!("/actions_job/{ID}"), Kind::Docker),
            (format!("/ecs/0f9b1c/{ID}"), Kind::Docker),
            (format!("/machine.slice/libpod-{ID}.scope"), Kind::Podman),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Kind::Podman),
            (format!("/machine.slice/libpod-payload-{ID}"), Kind::Podman),
            (format!("/libpod_parent/libpod-{ID}"), Kind::Podman),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"), Kind::Podman),
            (format!("/kubepods/besteffort/pod{POD}/{ID}"), Kind::Cri),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_SYSTEMD}.slice/cri-containerd-{ID}.scope"
                ),
                Kind::Containerd,
            ),
            (format!("/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/crio-{ID}.scope"), Kind::CriO),
            (format!("/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/crio-{ID}.scope/container"), Kind::CriO),
            (format!("/kubepods/burstable/pod{POD}/crio-{ID}"), Kind::CriO),
            (
                format!(
                    "/system.slice/containerd.service/kubepods-burstable-pod{POD_SYSTEMD}.slice:cri-containerd:{ID}"
                ),
                Kind::Containerd,
            ),
            (format!("/system.slice/nerdctl-{ID}.scope"), Kind::Containerd),
            (format!("/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/docker-{ID}.scope"), Kind::Docker),
        ] {
            let (k, id, _) = found(&path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((k, id.as_str()), (kind, short), "{path}");
        }
    }

    #[test]
    fn layouts_of_names() {
        for (path, kind, id) in [
            ("/lxc/web1", Kind::Lxc, "web1"),
            ("/lxc.payload/web1", Kind::Lxc, "web1"),
            ("/lxc.payload.web1", Kind::Lxc, "web1"),
            ("/lxc.payload.web1/system.slice/ssh.service", Kind::Lxc, "web1"),
            ("/lxc/web1/init.scope", Kind::Lxc, "web1"),
            ("/machine.slice/machine-lxc\\x2d12001\\x2dguest.scope", Kind::LibvirtLxc, "12001\\x2dguest"),
            ("/machine.slice/machine-lxc\\x2d1\\x2dg.scope/libvirt", Kind::LibvirtLxc, "1\\x2dg"),
            ("/libvirt/lxc/guest", Kind::LibvirtLxc, "guest"),
            ("/machine/guest.libvirt-lxc", Kind::LibvirtLxc, "guest"),
            ("/system.slice/bpm-router.scope", Kind::Bpm, "router"),
            ("/machine.slice/machine-debian.scope", Kind::Nspawn, "debian"),
            ("/machine.slice/machine-debian.scope/payload/system.slice/x.service", Kind::Nspawn, "debian"),
        ] {
            assert_eq!(found(path), Some((kind, id.to_owned(), None)), "{path}");
        }
    }

    #[test]
    fn the_host_is_no_container() {
        for path in [
            "",
            "/",
            "/init.scope",
            "/system.slice/ssh.service",
            "/system.slice/docker.service",
            "/system.slice/dev-hugepages.mount",
            "/user.slice/user-0.slice/session-1.scope",
            "/lxc.monitor.web1",
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
            &format!("/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("/docker/{}", &ID[..63]),
            "/kubepods/besteffort",
            "/openrc/sshd",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn pods() {
        let pod = |path: String| found(&path).and_then(|(_, _, pod)| pod);
        assert_eq!(pod(format!("/kubepods/burstable/pod{POD}/{ID}")).as_deref(), Some(POD));
        assert_eq!(
            pod(format!("/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/crio-{ID}.scope")).as_deref(),
            Some(POD_SYSTEMD)
        );
        assert_eq!(pod(format!("/docker/{ID}")), None);
    }

    #[test]
    fn any_line_may_tell() {
        let docker = format!("/docker/{ID}");
        let paths: [&[u8]; 3] = [b"/", b"/user.slice", docker.as_bytes()];
        assert_eq!(find(paths).map(|c| c.kind), Some(Kind::Docker));
    }
}
