//! Counting without looking at every alert: by hours and days that were counted when alerts came.
//!
//! The table `counts` has how many alerts of each label there are in each interval of the widths in `widths`; triggers keep
//! it, in the transaction in which an alert comes or goes. A range of time is put together of the widest intervals
//! that lie in it whole, of narrower ones at its ends, and of single alerts where even those are too wide. Not here: questions
//! about anything but times and labels.

use super::Where;
use crate::hub::store::{Filter, Intervals, Totals};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// A range of time: not before, and before; nothing is without end.
type Range = (Option<i64>, Option<i64>);

/// A part of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Whole intervals of a width, by their numbers: from the first, up to but without the last.
    Counted { width: i64, first: i64, end: i64 },
    /// What is in no whole interval.
    Each(Range),
}

/// Takes a range apart. `widths` are in falling order; each of them is a multiple of the next.
fn parts((from, to): Range, widths: &[i64], out: &mut Vec<Part>) {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return;
    }
    let Some((&width, narrower)) = widths.split_first() else { return out.push(Part::Each((from, to))) };
    let up = |time: i64| time.div_euclid(width) + i64::from(time.rem_euclid(width) != 0);
    let (first, end) = (from.map_or(i64::MIN, up), to.map_or(i64::MAX, |to| to.div_euclid(width)));
    if first >= end {
        return parts((from, to), narrower, out);
    }
    // Neither product leaves the range.
    if from.is_some() {
        parts((from, Some(first.saturating_mul(width))), narrower, out);
    }
    out.push(Part::Counted { width, first, end });
    if to.is_some() {
        parts((Some(end.saturating_mul(width)), to), narrower, out);
    }
}

/// Whether a filter asks about nothing but times and labels.
pub fn can(filter: &Filter) -> bool {
    let Filter { fields, text, acknowledged, after, behind, .. } = filter;
    fields.is_empty() && text.trim().is_empty() && acknowledged.is_none() && after.is_none() && behind.is_none()
}

/// Alerts by label, or per interval of `width` nanoseconds and label, added to what is there.
pub fn add(
    connection: &Connection,
    filter: &Filter,
    width: Option<i64>,
    (totals, intervals): (&mut Totals, &mut Intervals),
) -> rusqlite::Result<()> {
    let labels = Where::labels(filter);
    if width.is_none() && filter.from.is_none() && filter.to.is_none() {
        let sql = format!("SELECT id, alerts FROM labels WHERE {}", labels.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(labels.values))?;
        while let Some(row) = rows.next()? {
            *totals.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?;
        }
        return Ok(());
    }
    let mut statement = connection.prepare_cached("SELECT width FROM widths ORDER BY width DESC")?;
    let widths: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    // Only what an interval of the answer is made of as a whole.
    let widths: Vec<i64> =
        widths.into_iter().filter(|counted| width.is_none_or(|width| width % counted == 0)).collect();
    let mut found = Vec::new();
    parts((filter.from, filter.to), &widths, &mut found);
    for part in found {
        let (sql, values, of) = match part {
            Part::Counted { width, first, end } => {
                let mut all = Where::of_labels(labels.clone());
                all.and(
                    "width = ? AND interval >= ? AND interval < ?",
                    [width, first, end].map(Value::Integer).to_vec(),
                );
                (format!("SELECT label, interval, alerts FROM counts WHERE {}", all.sql), all.values, width)
            }
            Part::Each((from, to)) => {
                let all = Where::of(connection, &Filter { from, to, ..filter.clone() })?;
                (format!("SELECT label, time, 1 FROM {} WHERE {}", all.tables, all.sql), all.values, 1)
            }
        };
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let (label, number) = (row.get(0)?, row.get::<_, i64>(2)?);
            match width {
                None => *totals.entry(label).or_default() += number,
                Some(width) => {
                    let time = row.get::<_, i64>(1)?.saturating_mul(of);
                    *intervals.entry((super::start(time, width), label)).or_default() += number;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTHS: [i64; 3] = [1000, 100, 10];

    /// Where the parts begin and end; `None` where they have a gap or overlap.
    fn joined(range: Range) -> Option<Vec<Part>> {
        let mut found = Vec::new();
        parts(range, &WIDTHS, &mut found);
        let ends = |part: &Part| match *part {
            Part::Counted { width, first, end } => (
                (first != i64::MIN).then(|| first.saturating_mul(width)),
                (end != i64::MAX).then(|| end.saturating_mul(width)),
            ),
            Part::Each(range) => range,
        };
        let mut at = range.0;
        for (place, part) in found.iter().enumerate() {
            let (from, to) = ends(part);
            if from != at || (to.is_none() && place + 1 != found.len()) {
                return None;
            }
            at = to;
        }
        (at == range.1).then_some(found)
    }

    #[test]
    fn ranges_are_taken_apart() {
        let all = Part::Counted { width: 1000, first: i64::MIN, end: i64::MAX };
        assert_eq!(joined((None, None)), Some(vec![all]));
        let expected = vec![
            Part::Each((Some(-1234), Some(-1230))),
            Part::Counted { width: 10, first: -123, end: -120 },
            Part::Counted { width: 100, first: -12, end: -10 },
            Part::Counted { width: 1000, first: -1, end: i64::MAX },
        ];
        assert_eq!(joined((Some(-1234), None)), Some(expected));
        assert_eq!(joined((Some(3), Some(8))), Some(vec![Part::Each((Some(3), Some(8)))]));
        for range in [(Some(i64::MIN), Some(i64::MAX)), (Some(i64::MAX - 5), None), (None, Some(i64::MIN + 5))] {
            assert!(joined(range).is_some(), "{range:?}");
        }
        let mut none = Vec::new();
        parts((Some(5), Some(5)), &WIDTHS, &mut none);
        assert_eq!(none, []);
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_range(from in -5000_i64..5000, length in 1_i64..9000) {
            let found = joined((Some(from), Some(from + length)));
            prop_assert!(found.is_some());
            prop_assert!(found.is_some_and(|found| found.len() <= 2 * WIDTHS.len() + 1));
        }
    }
}
