//! Counting without looking at every alert: by hours and days that were counted when alerts came.
//!
//! The table `counts` of a store has how many alerts of each label there are in each interval of the widths in its table
//! `widths`, kept in the transaction in which an alert comes or goes. A range of time is put together of the widest
//! intervals that lie in it whole, of narrower ones at its ends, and of single alerts where even those are too wide. Not
//! here: SQL; questions about anything but times and labels.

use super::Filter;

/// A range of time: not before, and before; nothing is without end.
pub type Range = (Option<i64>, Option<i64>);

/// A part of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whole intervals of a width, by their numbers: from the first, up to but without the last.
    Counted { width: i64, first: i64, end: i64 },
    /// What is in no whole interval.
    Each(Range),
}

/// Takes a range apart. `widths` are in falling order; each of them is a multiple of the next. Where alerts are asked for per
/// interval of `width`, each part lies in the intervals of the answer as a whole.
pub fn parts(range: Range, widths: &[i64], width: Option<i64>) -> Vec<Part> {
    let widths: Vec<i64> =
        widths.iter().copied().filter(|counted| width.is_none_or(|width| width % counted == 0)).collect();
    let mut parts = Vec::new();
    take_apart(range, &widths, &mut parts);
    parts
}

fn take_apart((from, to): Range, widths: &[i64], out: &mut Vec<Part>) {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return;
    }
    let Some((&width, narrower)) = widths.split_first() else { return out.push(Part::Each((from, to))) };
    let up = |time: i64| time.div_euclid(width) + i64::from(time.rem_euclid(width) != 0);
    let (first, end) = (from.map_or(i64::MIN, up), to.map_or(i64::MAX, |to| to.div_euclid(width)));
    if first >= end {
        return take_apart((from, to), narrower, out);
    }
    // Neither product leaves the range.
    if from.is_some() {
        take_apart((from, Some(first.saturating_mul(width))), narrower, out);
    }
    out.push(Part::Counted { width, first, end });
    if to.is_some() {
        take_apart((Some(end.saturating_mul(width)), to), narrower, out);
    }
}

/// Whether a filter asks about nothing but times and labels.
pub fn can_count(filter: &Filter) -> bool {
    let Filter { fields, text, acknowledged, after, behind, .. } = filter;
    fields.is_empty() && text.trim().is_empty() && acknowledged.is_none() && after.is_none() && behind.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTHS: [i64; 3] = [1000, 100, 10];

    /// Where the parts begin and end; `None` where they have a gap or overlap.
    fn joined(range: Range) -> Option<Vec<Part>> {
        let found = parts(range, &WIDTHS, None);
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
        assert_eq!(parts((Some(5), Some(5)), &WIDTHS, None), []);
        let in_intervals = parts((None, None), &WIDTHS, Some(500));
        assert_eq!(in_intervals, [Part::Counted { width: 100, first: i64::MIN, end: i64::MAX }]);
        assert_eq!(parts((None, Some(3)), &WIDTHS, Some(7)), [Part::Each((None, Some(3)))]);
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
