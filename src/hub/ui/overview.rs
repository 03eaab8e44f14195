//! Counts: Falcosidekick UI's, the dashboard's in one answer, and which fields are behind the noise.

use super::ask::Ask;
use super::login::Viewer;
use super::{Answer, Failed, Shared, answer};
use crate::hub::alert;
use crate::hub::store::{Counts, Group};
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

pub async fn count(State(ui): Shared, _: Viewer, ask: Ask) -> Answer {
    let all = ui.store.count(ask.filter).await?;
    answer(&json!({"statistics": {"all": all}}), ask.pretty)
}

pub async fn count_by(State(ui): Shared, _: Viewer, Path(group): Path<String>, ask: Ask) -> Answer {
    let group = Group::from_name(&group).ok_or_else(|| Failed::bad("wrong Group By field"))?;
    let counts = ui.store.count_by(group, ask.filter).await?;
    let all: i64 = counts.values().sum();
    let statistics = json!({"all": all, "distincts": counts.len()});
    answer(&json!({"results": counts, "statistics": statistics}), ask.pretty)
}

/// Values of a group in an overview; the others are counted together.
const TOP: usize = 50;
/// Lines of a timeline; the others are counted together.
const LINES: usize = 12;
const BUCKETS: i64 = 60;
const BUCKETS_MAX: i64 = 1000;
const YEAR: i64 = 31_536_000;
/// Widths an interval may have, in seconds: such as people count time by. Beyond, some years.
const WIDTHS: [i64; 19] =
    [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800, 2_592_000, YEAR];
const SECOND: i64 = 1_000_000_000;

/// Everything the dashboard shows: counts by each group and timelines, of one pass over the alerts.
pub async fn overview(State(ui): Shared, _: Viewer, ask: Ask) -> Answer {
    let wanted = |text: &str| -> Result<Vec<Group>, Failed> {
        let group = |name| Group::from_name(name).ok_or_else(|| Failed::bad(format!("groups: '{name}' is none")));
        text.split(',').map(group).collect()
    };
    let groups = ask.own("groups").map_or(Ok(Group::ALL.to_vec()), wanted)?;
    let buckets = ask.own("buckets").map_or(Ok(BUCKETS), |text| {
        let number = text.parse().ok().filter(|number| (1..=BUCKETS_MAX).contains(number));
        number.ok_or_else(|| Failed::bad(format!("buckets: a number from 1 to {BUCKETS_MAX}")))
    })?;
    let now = crate::hub::spool::now().saturating_mul(1_000_000);
    let span = ui.store.span().await?.unwrap_or((now, now));
    let from = ask.filter.from.unwrap_or(span.0);
    let to = ask.filter.to.unwrap_or(if ask.filter.from.is_some() { now.max(from) } else { span.1 + 1 });
    let length = to.saturating_sub(from).max(1);
    let fits = |width: &&i64| length / (**width * SECOND) < buckets;
    let years = (length / (YEAR * SECOND * buckets) + 1).saturating_mul(YEAR);
    let width = WIDTHS.iter().find(fits).copied().unwrap_or(years).saturating_mul(SECOND);
    let counted = ui.store.overview(ask.filter, groups.clone(), Some(width)).await?;

    let mut by = Map::new();
    for (group, counts) in groups.iter().zip(&counted.groups) {
        let top = top(counts, TOP);
        let rest: i64 = counts.values().sum::<i64>() - top.iter().map(|(_, number)| *number).sum::<i64>();
        let value = json!({"top": top, "distincts": counts.len(), "others": rest});
        by.insert(group.name().to_owned(), value);
    }
    let mut timelines = Map::new();
    for ((group, timeline), counts) in groups.iter().zip(&counted.timelines).zip(&counted.groups) {
        timelines.insert(group.name().to_owned(), lines(timeline, counts));
    }
    let value = json!({
        "all": counted.all,
        "by": by,
        // Milliseconds since 1970, as a browser counts.
        "timeline": {"from": from / 1_000_000, "to": to / 1_000_000, "width": width / 1_000_000, "by": timelines},
    });
    answer(&value, ask.pretty)
}

/// The most frequent, then by name.
fn top(counts: &Counts, most: usize) -> Vec<(&str, i64)> {
    let mut all: Vec<(&str, i64)> = counts.iter().map(|(name, number)| (name.as_str(), *number)).collect();
    all.sort_by_key(|(name, number)| (-number, *name));
    all.truncate(most);
    all
}

/// For each of the most frequent, the intervals in which it occurred: `[[start, number], ...]`.
fn lines(timeline: &BTreeMap<i64, Counts>, counts: &Counts) -> Value {
    let names: Vec<&str> = top(counts, LINES).into_iter().map(|(name, _)| name).collect();
    let mut lines: HashMap<&str, Vec<(i64, i64)>> = HashMap::new();
    let mut others = Vec::new();
    for (start, counts) in timeline {
        let start = start / 1_000_000;
        for name in &names {
            if let Some(number) = counts.get(*name) {
                lines.entry(name).or_default().push((start, *number));
            }
        }
        let rest: i64 = counts.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(_, n)| n).sum();
        if rest > 0 {
            others.push((start, rest));
        }
    }
    let lines: Vec<_> = names
        .iter()
        .map(|name| json!({"name": name, "points": lines.get(name).cloned().unwrap_or_default()}))
        .collect();
    json!({"lines": lines, "others": others})
}

/// Alerts that are looked into for their fields: the newest of those that fit.
const SAMPLE: usize = 2000;
const FIELDS: usize = 40;
const VALUES: usize = 5;

/// Which values the fields of alerts have, the most repeated first. Of many alerts, the newest are looked at: the
/// answer says how many.
pub async fn fields(State(ui): Shared, _: Viewer, ask: Ask) -> Answer {
    let found = ui.store.search(ask.filter, 0, SAMPLE).await?;
    let mut fields: BTreeMap<String, Counts> = BTreeMap::new();
    let mut looked_at = 0;
    for found in &found {
        let Ok(alert) = alert::first_value(found.body.as_bytes()).and_then(|value| alert::decode(&value)) else {
            continue;
        };
        looked_at += 1;
        for (name, value) in alert.output_fields {
            *fields.entry(name).or_default().entry(value.to_string()).or_default() += 1;
        }
    }
    let repeated = |counts: &Counts| counts.values().max().copied().unwrap_or(0);
    let mut ordered: Vec<(String, Counts)> = fields.into_iter().collect();
    ordered.sort_by_key(|(_, counts)| -repeated(counts));
    let more = ordered.len().saturating_sub(FIELDS);
    let shown: Vec<_> = ordered
        .iter()
        .take(FIELDS)
        .map(|(name, counts)| json!({"name": name, "distincts": counts.len(), "top": top(counts, VALUES)}))
        .collect();
    answer(&json!({"looked_at": looked_at, "fields": shown, "more_fields": more}), ask.pretty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_counted_not_forgotten() {
        let counts: Counts = (0..20).map(|i| (format!("r{i:02}"), 20 - i)).collect();
        let timeline = BTreeMap::from([(5_000_000, counts.clone())]);
        let value = lines(&timeline, &counts);
        assert_eq!(value["lines"].as_array().expect("a list").len(), LINES);
        assert_eq!(value["lines"][0], json!({"name": "r00", "points": [[5, 20]]}));
        assert_eq!(value["others"], json!([[5, (1..=8).sum::<i64>()]]));
        assert_eq!(top(&counts, 2), [("r00", 20), ("r01", 19)]);
    }
}
