//! Time: from the module's clock to the wall, and as text.

use super::arena_text::ArenaText;
use bumpalo::Bump;
use nix::sys::time::TimeValLike;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// How the clocks of one host relate. Taken at start and again now and then, because the wall clock is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Wall clock (ns since 1970) minus the module's clock.
    pub wall_minus_module: i64,
    /// Wall clock minus the time since boot.
    pub wall_minus_boot: i64,
    /// Local time minus UTC, in seconds.
    pub utc_offset: i32,
}

impl Clock {
    /// The relation as of now, given what the module's clock says now (`fsn_info.clock`).
    pub fn now(module: u64) -> Clock {
        let read = |id| nix::time::clock_gettime(id).map_or(0, |t| t.num_nanoseconds());
        let wall = read(nix::time::ClockId::CLOCK_REALTIME);
        let boot = read(nix::time::ClockId::CLOCK_BOOTTIME);
        Clock {
            wall_minus_module: wall.wrapping_sub(module as i64),
            wall_minus_boot: wall.wrapping_sub(boot),
            utc_offset: utc_offset(wall / SECOND as i64),
        }
    }

    /// Wall time of a time of the module's clock.
    pub const fn wall(&self, module: u64) -> u64 {
        module.wrapping_add(self.wall_minus_module as u64)
    }

    /// Wall time of a time since boot; None for 0, which is "not known".
    pub const fn wall_of_boot(&self, boot: u64) -> Option<u64> {
        if boot == 0 { None } else { Some(boot.wrapping_add(self.wall_minus_boot as u64)) }
    }
}

/// Local time minus UTC now, in seconds.
pub fn local_offset() -> i32 {
    utc_offset(nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).map_or(0, |t| t.num_seconds()))
}

/// Local time minus UTC at a time (seconds since 1970), by the host's time zone.
fn utc_offset(seconds: i64) -> i32 {
    let time = seconds as libc::time_t;
    let mut local = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r fills the struct or returns null.
    let filled = unsafe { !libc::localtime_r(&raw const time, local.as_mut_ptr()).is_null() };
    if !filled {
        return 0;
    }
    // SAFETY: localtime_r filled it, and it was zeroed before.
    unsafe { local.assume_init() }.tm_gmtoff as i32
}

/// What looking at the monotonic clock takes, to be left out of what is measured with it.
pub static COST: LazyLock<Duration> = LazyLock::new(|| {
    let between = (0..1000).map(|_| Instant::now().elapsed());
    between.min().unwrap_or_default()
});

/// What is written of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `14:30:37`
    Time,
    /// `2026-11-23 14:30:37`
    DateTime,
    /// `2026-11-23T14:30:37.610447303+0000`, always UTC.
    Iso8601,
}

/// A time (ns since 1970) as text, shifted by `utc_offset` seconds, with nine digits of nanoseconds if asked for.
pub fn format_time(ns: u64, utc_offset: i32, form: Form, nanoseconds: bool, arena: &Bump) -> &[u8] {
    let offset = if form == Form::Iso8601 { 0 } else { i64::from(utc_offset) };
    let seconds = (ns / SECOND) as i64 + offset;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = ArenaText::with_capacity(40, arena);
    if form != Form::Time {
        let (year, month, day) = date(days);
        let between = if form == Form::Iso8601 { 'T' } else { ' ' };
        text.push_fmt(format_args!("{year:04}-{month:02}-{day:02}{between}"));
    }
    text.push_fmt(format_args!("{hour:02}:{minute:02}:{second:02}"));
    if nanoseconds {
        text.push_fmt(format_args!(".{:09}", ns % SECOND));
    }
    if form == Form::Iso8601 {
        text.push_str("+0000");
    }
    text.finish()
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian calendar).
const fn date(days: i64) -> (i64, u32, u32) {
    // Counted from 0000-03-01, so that the leap day ends a year; 146,097 days are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month + 2) / 5 + 1) as u32;
    let month = if month < 10 { month + 3 } else { month - 9 } as u32;
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

/// Seconds with six significant digits and an `s`: `0s`, `1e-06s`, `1.5s`, as `%gs` writes them.
pub fn push_seconds(ns: u64, text: &mut ArenaText<'_>) {
    push_general(ns as f64 / SECOND as f64, text);
    text.push(b"s");
}

/// A number as C's `%g` writes it.
fn push_general(value: f64, text: &mut ArenaText<'_>) {
    if value == 0.0 {
        text.push(b"0");
        return;
    }
    // Rounding to six digits may carry into the exponent, so it is taken from the rounded number.
    let mut scientific = [0u8; 32];
    let len = {
        use std::io::Write;
        let mut rest = scientific.as_mut_slice();
        let _ = write!(rest, "{value:.5e}");
        32 - rest.len()
    };
    let written = std::str::from_utf8(&scientific[..len]).unwrap_or("0e0");
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let decimals = (5 - exponent) as usize;
        let start = text.len();
        text.push_fmt(format_args!("{value:.decimals$}"));
        if decimals > 0 {
            trim_zeros(start, text);
        }
    } else {
        let start = text.len();
        text.push_str(mantissa);
        trim_zeros(start, text);
        let sign = if exponent < 0 { '-' } else { '+' };
        text.push_fmt(format_args!("e{sign}{:02}", exponent.abs()));
    }
}

/// Removes zeros after the decimal point, and the point when nothing is left behind it.
fn trim_zeros(start: usize, text: &mut ArenaText<'_>) {
    let digits = &text.as_bytes()[start..];
    if memchr::memchr(b'.', digits).is_none() {
        return;
    }
    let zeros = digits.iter().rev().take_while(|b| **b == b'0').count();
    let mut len = digits.len() - zeros;
    if digits[len - 1] == b'.' {
        len -= 1;
    }
    text.truncate(start + len);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        let arena = Bump::new();
        let at = 1_795_444_237_610_447_303;
        let text = |form, ns| String::from_utf8_lossy(format_time(at, 0, form, ns, &arena)).into_owned();
        assert_eq!(text(Form::Time, true), "14:30:37.610447303");
        assert_eq!(text(Form::Time, false), "14:30:37");
        assert_eq!(text(Form::DateTime, true), "2026-11-23 14:30:37.610447303");
        assert_eq!(text(Form::Iso8601, true), "2026-11-23T14:30:37.610447303+0000");
        let text =
            |at, offset, form| String::from_utf8_lossy(format_time(at, offset, form, false, &arena)).into_owned();
        assert_eq!(text(0, -3600, Form::DateTime), "1969-12-31 23:00:00");
        assert_eq!(text(at, 7200, Form::DateTime), "2026-11-23 16:30:37");
        assert_eq!(text(at, 7200, Form::Iso8601), "2026-11-23T14:30:37+0000");
        assert_eq!(text(951_782_400 * SECOND, 0, Form::DateTime), "2000-02-29 00:00:00");
    }

    proptest! {
        #[test]
        fn dates_agree_with_the_library(seconds in 0i64..32_503_680_000) {
            let (year, month, day) = date(seconds.div_euclid(86_400));
            let time = seconds as libc::time_t;
            let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
            // SAFETY: both pointers are valid for the call, and the struct was zeroed.
            let tm = unsafe { libc::gmtime_r(&raw const time, tm.as_mut_ptr()); tm.assume_init() };
            prop_assert_eq!((year, month as i32, day as i32), (i64::from(tm.tm_year) + 1900, tm.tm_mon + 1, tm.tm_mday));
        }
    }

    #[test]
    fn seconds_are_written_as_c_does() {
        let arena = Bump::new();
        for (ns, expected) in [
            (0, "0s"),
            (1_000, "1e-06s"),
            (1_500_000_000, "1.5s"),
            (10 * SECOND, "10s"),
            (100_000 * SECOND, "100000s"),
            (1_000_000 * SECOND, "1e+06s"),
            (8_029_759_185_026_510_703, "8.02976e+09s"),
            (999_999_999, "1s"),
            (100_000, "0.0001s"),
        ] {
            let mut text = ArenaText::new(&arena);
            push_seconds(ns, &mut text);
            assert_eq!(String::from_utf8_lossy(text.as_bytes()), expected);
        }
    }

    #[test]
    fn clocks_add_up() {
        let clock = Clock { wall_minus_module: 100, wall_minus_boot: 50, utc_offset: 0 };
        assert_eq!(clock.wall(5), 105);
        assert_eq!(clock.wall_of_boot(5), Some(55));
        assert_eq!(clock.wall_of_boot(0), None);
        let now = Clock::now(0);
        assert!(now.wall(0) > 1_500_000_000 * SECOND);
    }
}
