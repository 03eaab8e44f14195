//! Durations as Prometheus writes them: `1h30m`, `300ms`.

use std::time::Duration;

/// Units in the order in which they may stand, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Every number has a unit, units come once and from the greatest on; blanks may stand between. None for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let (mut total, mut units) = (0u64, &UNITS[..]);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let word = &rest[digits..];
        let word = &word[..word.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(word.len())];
        let at = units.iter().position(|(unit, _)| *unit == word)?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = rest[digits + word.len()..].trim_start();
    }
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("100ms", Some(100)),
            ("1h", Some(3_600_000)),
            ("1h3m2s1ms", Some(3_782_001)),
            ("1w2d", Some(9 * 86_400_000)),
            (" 2h 5m ", Some(7_500_000)),
            ("0s", Some(0)),
            ("", None),
            ("5000", None),
            ("s", None),
            ("1ms1y", None),
            ("1h1h", None),
            ("1x", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("999999999999999999y", None),
        ] {
            assert_eq!(parse(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }
}
