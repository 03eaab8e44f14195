//! Records as text, one line each: what tests and people debugging the module read.
//!
//! Not an output of the sensor, and not a decoder for anything else: it prints what the bytes say, marks what does
//! not fit, and never fails.

use super::abi::{self, fsn_att, fsn_event, fsn_exec, fsn_fd, fsn_relative, fsn_sock, fsn_task, text, view, view_many};
use super::ring::Record;
use super::table;
use std::fmt::{self, Write};

/// A record as one line, without the newline.
pub struct Line<'r>(pub Record<'r>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.0;
        let (seconds, nanos) = (record.time() / 1_000_000_000, record.time() % 1_000_000_000);
        write!(f, "{seconds}.{nanos:09} ")?;
        let shown = match record.kind() {
            abi::FSN_REC_EXEC => exec(f, record.bytes())?,
            abi::FSN_REC_TASK => task(f, record.slot(), record.bytes())?,
            abi::FSN_REC_EVENT => event(f, record.slot(), record.bytes())?,
            abi::FSN_REC_RESET => f.write_str("RESET").map(Some)?,
            other => write!(f, "UNKNOWN type={other} len={}", record.bytes().len()).map(Some)?,
        };
        if shown.is_none() {
            write!(f, " BROKEN len={}", record.bytes().len())?;
        }
        Ok(())
    }
}

type Shown = Result<Option<()>, fmt::Error>;

fn exec(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> Shown {
    f.write_str("EXEC")?;
    let Some(e) = view::<fsn_exec>(bytes) else { return Ok(None) };
    write!(f, " id={} prev={} pid={} comm={} flags={:#x}", e.id, e.prev_id, e.pid, quoted(text(&e.comm)), e.flags)?;
    write!(f, " exec_time={} dev={:#x} ino={} mode={:o}", e.exec_time, e.exe_dev, e.exe_ino, e.exe_mode)?;
    write!(f, " uid={} gid={} ctime={} mtime={}", e.exe_uid, e.exe_gid, e.exe_ctime, e.exe_mtime)?;
    let mut rest = &bytes[size_of::<fsn_exec>()..];
    for (name, len) in [("exe", e.exe_len), ("filename", e.filename_len)] {
        let Some(part) = take(&mut rest, len) else { return Ok(None) };
        write!(f, " {name}={}", quoted(part))?;
    }
    for (name, len, total) in [("args", e.args_len, e.args_total), ("env", e.env_len, e.env_total)] {
        let Some(part) = take(&mut rest, len) else { return Ok(None) };
        write!(f, " {name}={}/{total}", strings(part))?;
    }
    Ok(Some(()))
}

fn task(f: &mut fmt::Formatter<'_>, slot: u16, bytes: &[u8]) -> Shown {
    write!(f, "TASK slot={slot}")?;
    let Some(t) = view::<fsn_task>(bytes) else { return Ok(None) };
    write!(f, " gen={} tid={} pid={} ppid={} birth_ppid={}", t.gen_, t.tid, t.pid, t.ppid, t.birth_ppid)?;
    write!(f, " pgid={} sid={} vtid={} vpid={} vpgid={} vsid={}", t.pgid, t.sid, t.vtid, t.vpid, t.vpgid, t.vsid)?;
    write!(f, " exec={} birth_exec={} flags={:#x}", t.exec_id, t.birth_exec_id, t.flags)?;
    write!(f, " comm={} comm_now={}", quoted(text(&t.comm)), quoted(text(&t.comm_now)))?;
    write!(f, " uid={}/{}/{}/{} gid={}/{}/{}/{}", t.uid, t.euid, t.suid, t.fsuid, t.gid, t.egid, t.sgid, t.fsgid)?;
    write!(f, " loginuid={} sessionid={} tty={:#x}", t.loginuid as i32, t.sessionid as i32, t.tty)?;
    write!(f, " caps={:x}/{:x}/{:x}", t.cap_inheritable, t.cap_permitted, t.cap_effective)?;
    write!(f, " ns=mnt:{},pid:{},net:{},user:{}", t.mnt_ns, t.pid_ns, t.net_ns, t.user_ns)?;
    write!(f, ",uts:{},ipc:{},cgroup:{}", t.uts_ns, t.ipc_ns, t.cgroup_ns)?;
    write!(f, " start={} pid_start={} pidns_init={}", t.start, t.pid_start, t.pidns_init_start)?;
    write!(f, " fdlimit={}", t.fdlimit)?;
    let rest = &bytes[size_of::<fsn_task>()..];
    let Some((relatives, mut rest)) = view_many::<fsn_relative>(rest, usize::from(t.nrelatives)) else {
        return Ok(None);
    };
    for (name, len) in [("cwd", t.cwd_len), ("root", t.root_len)] {
        let Some(part) = take(&mut rest, len) else { return Ok(None) };
        write!(f, " {name}={}", quoted(part))?;
    }
    let Some(part) = take(&mut rest, t.cgroups_len) else { return Ok(None) };
    write!(f, " cgroups={}", strings(part))?;
    for r in relatives {
        write!(f, " rel={}:{}:exec={}:flags={:#x}", r.pid, quoted(text(&r.comm)), r.exec_id, r.flags)?;
    }
    Ok(Some(()))
}

fn event(f: &mut fmt::Formatter<'_>, slot: u16, bytes: &[u8]) -> Shown {
    write!(f, "EVENT slot={slot}")?;
    let Some(e) = view::<fsn_event>(bytes) else { return Ok(None) };
    let (row, call) = (table::event(e.code), table::syscall(e.sc));
    let name = row.map_or("?", table::event_name);
    let call = call.map_or("?", table::syscall_name);
    write!(f, " gen={} type={name} code={} syscall={call} sc={} nr={}", e.gen_, e.code, e.sc, e.nr)?;
    write!(f, " ret={} args={:x?} flags={:#x}", e.ret, e.args, e.flags)?;
    let params = row.map_or(&[][..], table::params);
    let mut rest = &bytes[size_of::<fsn_event>()..];
    for _ in 0..e.natts {
        let Some(att) = view::<fsn_att>(rest).copied() else { return Ok(None) };
        let Some(after) = rest.get(size_of::<fsn_att>()..) else { return Ok(None) };
        let Some(content) = after.get(..att.len as usize) else { return Ok(None) };
        rest = after.get((att.len as usize).next_multiple_of(8)..).unwrap_or_default();
        match params.get(usize::from(att.param)) {
            Some(param) => write!(f, " {}=", table::param_name(param))?,
            None => write!(f, " #{}=", att.param)?,
        }
        if attachment(f, u32::from(att.kind), content)?.is_none() {
            return Ok(None);
        }
        for (flag, mark) in [(abi::FSN_ATT_CUT, "+cut"), (abi::FSN_ATT_FAULT, "+fault")] {
            if u32::from(att.flags) & flag != 0 {
                f.write_str(mark)?;
            }
        }
    }
    Ok(Some(()))
}

fn attachment(f: &mut fmt::Formatter<'_>, kind: u32, content: &[u8]) -> Shown {
    match kind {
        abi::FSN_ATT_STR => write!(f, "{}", quoted(content)),
        abi::FSN_ATT_PATH => write!(f, "path:{}", quoted(content)),
        abi::FSN_ATT_BYTES => write!(f, "bytes:{}", quoted(content)),
        abi::FSN_ATT_STRV => write!(f, "{}", strings(content)),
        abi::FSN_ATT_U64 => {
            f.write_str("u64")?;
            content.as_chunks::<8>().0.iter().try_for_each(|v| write!(f, ":{:#x}", u64::from_ne_bytes(*v)))
        }
        abi::FSN_ATT_SOCKADDR => write!(f, "sockaddr:{}", quoted(content)),
        abi::FSN_ATT_FD => return descriptor(f, content),
        other => write!(f, "kind{other}:{}", quoted(content)),
    }
    .map(Some)
}

fn descriptor(f: &mut fmt::Formatter<'_>, content: &[u8]) -> Shown {
    let Some(d) = view::<fsn_fd>(content) else { return Ok(None) };
    write!(f, "fd:{}:flags={:#x}:o={:#x}:mode={:o}", d.fd, d.flags, d.f_flags, d.mode)?;
    write!(f, ":dev={:#x}:ino={}:magic={:#x}:nlink={}", d.dev, d.ino, d.magic, d.nlink)?;
    let rest = &content[size_of::<fsn_fd>()..];
    let Some(name) = rest.get(..d.name_len as usize) else { return Ok(None) };
    if d.flags & abi::FSN_FD_SOCKET == 0 {
        return write!(f, ":{}", quoted(name)).map(Some);
    }
    let Some(s) = view::<fsn_sock>(name) else { return Ok(None) };
    write!(f, ":sock:family={}:type={}:proto={}", s.family, s.type_, s.protocol)?;
    write!(f, ":state={}:role={}:flags={:#x}", s.state, s.role, s.flags)?;
    let mut names = &name[size_of::<fsn_sock>()..];
    match i32::from(s.family) {
        libc::AF_INET => {
            let [l, r] = [s.laddr, s.raddr].map(|a| std::net::Ipv4Addr::new(a[0], a[1], a[2], a[3]));
            write!(f, ":{l}:{}->{r}:{}", s.lport, s.rport)?;
        }
        libc::AF_INET6 => {
            let [l, r] = [s.laddr, s.raddr].map(std::net::Ipv6Addr::from);
            write!(f, ":[{l}]:{}->[{r}]:{}", s.lport, s.rport)?;
        }
        _ => {
            let (Some(l), Some(r)) = (take(&mut names, s.lname_len), take(&mut names, s.rname_len)) else {
                return Ok(None);
            };
            write!(f, ":{}->{}:ino={}->{}", quoted(l), quoted(r), s.ino, s.peer_ino)?;
        }
    }
    Ok(Some(()))
}

fn take<'b>(rest: &mut &'b [u8], len: u16) -> Option<&'b [u8]> {
    let (part, after) = rest.split_at_checked(usize::from(len))?;
    *rest = after;
    Some(part)
}

struct Quoted<'b>(&'b [u8]);

fn quoted(bytes: &[u8]) -> Quoted<'_> {
    Quoted(bytes)
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

struct Strings<'b>(&'b [u8]);

/// NUL-terminated texts.
fn strings(bytes: &[u8]) -> Strings<'_> {
    Strings(bytes)
}

impl fmt::Display for Strings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        let texts = self.0.strip_suffix(b"\0").unwrap_or(self.0);
        if !self.0.is_empty() {
            for (i, one) in texts.split(|b| *b == 0).enumerate() {
                write!(f, "{}{}", if i > 0 { " " } else { "" }, quoted(one))?;
            }
        }
        f.write_char(']')
    }
}
