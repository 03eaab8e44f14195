//! Who: user.* and group.*.

use super::answer;
use crate::enrich::users::UNKNOWN;
use crate::event::value::Value;

/// The login uid of processes that nobody logged in for.
const UNSET: u32 = u32::MAX;

answer! {
    /// user.* and group.*; missing without a task.
    fn extract(ev, _field, _arena) {
        "user.uid" => Some(Value::U64(u64::from(ev.task?.head.euid))),
        "user.name" => Some(Value::Str(P::users(ev).user_name(ev.task?.head.euid))),
        "user.homedir" => Some(Value::Str(P::users(ev).home(ev.task?.head.euid))),
        "user.shell" => Some(Value::Str(P::users(ev).shell(ev.task?.head.euid))),
        "user.loginuid" => Some(Value::I64(match ev.task?.head.loginuid {
            UNSET => -1,
            uid => i64::from(uid),
        })),
        "user.loginname" => Some(Value::Str(match ev.task?.head.loginuid {
            UNSET => UNKNOWN,
            uid => P::users(ev).user_name(uid),
        })),
        "group.gid" => Some(Value::U64(u64::from(ev.task?.head.egid))),
        "group.name" => Some(Value::Str(P::users(ev).group_name(ev.task?.head.egid))),
    }
}
