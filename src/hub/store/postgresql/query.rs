//! Questions to the shared store: the conditions of a [`Filter`] in PostgreSQL's words.
//!
//! Free text is looked up in two steps. The index over `tokens` finds alerts that have all words; whether words of a
//! phrase are beside each other is then read from `words`. Both were made of the same words as a search's
//! ([`Tokenizer`](super::super::words::Tokenizer)), so that nothing depends on the server's own text search.

use super::super::counts::{Part, can_count, parts};
use super::super::{Acknowledged, Filter, Found, Group, Intervals, Label, Order, Overview, StoreError, Totals};
use super::{PostgreSql, cleaned};
use crate::hub::alert::Priority;
use crate::hub::json::head;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Of longer words the index has the beginning.
const TOKEN_MAX: usize = 128;
/// An alert with more than that of different words is a candidate of every search: an index bounds what a row has.
const TOKENS_MAX: usize = 256 << 10;
/// Stands for all words. No word has such a letter.
const ANY: &str = "*";

/// A word as the index has it.
fn token(word: &str) -> &str {
    head(word, TOKEN_MAX)
}

/// The columns `words` and `tokens` of an alert, the latter with a space between each two.
pub fn indexed(words: &[String]) -> (String, String) {
    let mut tokens: Vec<&str> = words.iter().map(|word| token(word)).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let tokens = if tokens.iter().map(|token| token.len()).sum::<usize>() > TOKENS_MAX { vec![ANY] } else { tokens };
    let words = if words.is_empty() { String::new() } else { format!(" {} ", words.join(" ")) };
    (words, tokens.join(" "))
}

/// Conditions and their parameters.
#[derive(Default)]
struct Where {
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Where {
    /// The place of a parameter.
    fn place(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn and(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    fn sql(&self) -> String {
        if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") }
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }

    /// What is asked of labels.
    fn labels(&mut self, filter: &Filter) {
        if !filter.priorities.is_empty() {
            let place = self.place(filter.priorities.iter().map(|p| *p as i16).collect::<Vec<i16>>());
            self.and(format!("priority = ANY ({place}::int2[])"));
        }
        let lists = [
            ("rule = ANY (", &filter.rules),
            ("rule <> ALL (", &filter.not_rules),
            ("source = ANY (", &filter.sources),
            ("hostname = ANY (", &filter.hostnames),
            ("tags && (", &filter.tags),
        ];
        for (condition, list) in lists {
            if !list.is_empty() {
                let place = self.place(list.iter().map(|text| cleaned(text)).collect::<Vec<String>>());
                self.and(format!("{condition}{place}::text[])"));
            }
        }
    }

    /// What has one of the labels that fit.
    fn of_labels(filter: &Filter) -> Where {
        let mut all = Where::default();
        all.labels(filter);
        if !all.conditions.is_empty() {
            all.conditions = vec![format!("label IN (SELECT id FROM labels WHERE {})", all.sql())];
        }
        all
    }

    /// What is asked of alerts beside that. `phrases`: the words of each word of the text.
    fn alerts(&mut self, filter: &Filter, phrases: &[Vec<String>]) {
        for (name, value) in &filter.fields {
            let wanted = serde_json::json!({cleaned(name): cleaned(value)}).to_string();
            let place = self.place(wanted);
            self.and(format!("fields @> {place}::text::jsonb"));
        }
        if !filter.text.trim().is_empty() {
            self.text(phrases);
        }
        if let Some(from) = filter.from {
            let place = self.place(from);
            self.and(format!("time >= {place}::int8"));
        }
        if let Some(to) = filter.to {
            let place = self.place(to);
            self.and(format!("time < {place}::int8"));
        }
        match filter.acknowledged {
            Some(true) => self.and("acknowledged IS NOT NULL".to_owned()),
            Some(false) => self.and("acknowledged IS NULL".to_owned()),
            None => {}
        }
        if let Some(after) = filter.after {
            let place = self.place(after);
            self.and(format!("seq > {place}::int8"));
        }
        if let Some((time, seq)) = filter.behind {
            let (time, seq) = (self.place(time), self.place(seq));
            self.and(format!("(time, seq) < ({time}::int8, {seq}::int8)"));
        }
    }

    /// The words of each phrase beside each other, of the last the beginning. What is no word is left out, but where
    /// there is nothing else nothing is found.
    fn text(&mut self, phrases: &[Vec<String>]) {
        let mut candidates = Vec::new();
        let mut exact = Vec::new();
        for phrase in phrases {
            let Some((last, before)) = phrase.split_last() else { continue };
            // Words have neither quotes nor backslashes.
            candidates.extend(before.iter().map(|word| format!("'{}'", token(word))));
            candidates.push(format!("'{}':*", token(last)));
            let place = self.place(format!(" {}", phrase.join(" ")));
            exact.push(format!("strpos(words, {place}::text) > 0"));
        }
        if candidates.is_empty() {
            return self.and("false".to_owned());
        }
        let place = self.place(format!("({}) | '{ANY}'", candidates.join(" & ")));
        self.and(format!("tokens @@ {place}::text::tsquery"));
        exact.into_iter().for_each(|condition| self.and(condition));
    }
}

const COLUMNS: &str = "seq, time, received, body, acknowledged, acknowledged_by, note, hub";

fn found(row: &Row) -> Found {
    let text = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let at: Option<i64> = row.get(4);
    Found {
        seq: row.get(0),
        time: row.get(1),
        received: row.get(2),
        body: row.get(3),
        acknowledged: at.map(|at| Acknowledged { at, by: text(5), note: text(6) }),
        hub: row.get(7),
    }
}

fn label(row: &Row) -> (i64, Label) {
    let label = Label {
        priority: Priority::from_number(row.get::<_, i16>(1).into()),
        rule: row.get(2),
        source: row.get(3),
        hostname: row.get(4),
        tags: row.get(5),
    };
    (row.get(0), label)
}

impl PostgreSql {
    /// The conditions of a filter.
    async fn conditions(&self, filter: &Filter) -> Result<Where, StoreError> {
        let mut all = Where::of_labels(filter);
        let words: Vec<String> = filter.text.split_whitespace().map(str::to_owned).collect();
        let phrases = self.words_of(words).await?;
        all.alerts(filter, &phrases);
        Ok(all)
    }

    /// How each text falls into words.
    pub(super) async fn words_of(&self, texts: Vec<String>) -> Result<Vec<Vec<String>>, StoreError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let tokenizer = self.tokenizer.clone();
        let words = tokio::task::spawn_blocking(move || tokenizer.words(&texts)).await;
        words.map_err(|_| StoreError::Stopping)?.map_err(|error| StoreError::Spool(error.into()))
    }

    pub(in crate::hub::store) async fn ordered(
        &self,
        filter: &Filter,
        order: Order,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut all = self.conditions(filter).await?;
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (limit, skip) = (all.place(number(limit)), all.place(number(skip)));
        let (conditions, order) = (all.sql(), order.sql());
        // Put in order, and passed over, without their bodies.
        let sql = format!(
            "SELECT {COLUMNS} FROM (SELECT seq AS chosen FROM alerts WHERE {conditions} ORDER BY {order} \
             LIMIT {limit}::int8 OFFSET {skip}::int8) AS page JOIN alerts ON seq = chosen ORDER BY {order}"
        );
        Ok(self.rows(&sql, &all.values()).await?.iter().map(found).collect())
    }

    pub(in crate::hub::store) async fn by_uuid(&self, uuid: &str) -> Result<Option<Found>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM alerts WHERE uuid = $1");
        Ok(self.rows(&sql, &[&cleaned(uuid)]).await?.first().map(found))
    }

    pub(in crate::hub::store) async fn span(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let rows = self.rows("SELECT min(time), max(time) FROM alerts", &[]).await?;
        let span = rows.first().map(|row| (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1)));
        Ok(span.and_then(|(first, last)| first.zip(last)))
    }

    pub(in crate::hub::store) async fn overview(
        &self,
        filter: &Filter,
        groups: &[Group],
        width: Option<i64>,
    ) -> Result<Overview, StoreError> {
        let (totals, intervals) = self.pass(filter, width).await?;
        let mut labels = Vec::new();
        if !groups.is_empty() && !totals.is_empty() {
            let ids: Vec<i64> = totals.keys().copied().collect();
            let sql = "SELECT id, priority, rule, source, hostname, tags FROM labels WHERE id = ANY ($1)";
            labels = self.rows(sql, &[&ids]).await?.iter().map(label).collect();
        }
        Ok(Overview::of(groups, &totals, width.map(|_| &intervals), &labels))
    }

    async fn pass(&self, filter: &Filter, width: Option<i64>) -> Result<(Totals, Intervals), StoreError> {
        let (mut totals, mut intervals) = (Totals::new(), Intervals::new());
        let range = (filter.from, filter.to);
        let parts = match can_count(filter) {
            false => vec![Part::Each(range)],
            true if width.is_none() && range == (None, None) => {
                let mut all = Where::default();
                all.labels(filter);
                let rows =
                    self.rows(&format!("SELECT id, alerts FROM labels WHERE {}", all.sql()), &all.values()).await?;
                totals.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))));
                return Ok((totals, intervals));
            }
            true => {
                let widths = self.rows("SELECT width FROM widths ORDER BY width DESC", &[]).await?;
                let widths: Vec<i64> = widths.iter().map(|row| row.get(0)).collect();
                parts(range, &widths, width)
            }
        };
        for part in parts {
            let (table, number, alerts, mut all, of) = match part {
                Part::Counted { width, first, end } => {
                    let mut all = Where::of_labels(filter);
                    let (width_at, first, end) = (all.place(width), all.place(first), all.place(end));
                    all.and(format!("width = {width_at}::int8 AND number >= {first}::int8 AND number < {end}::int8"));
                    ("counts", "number", "sum(alerts)::int8", all, width)
                }
                Part::Each((from, to)) => {
                    let all = self.conditions(&Filter { from, to, ..filter.clone() }).await?;
                    ("alerts", "time", "count(*)", all, 1)
                }
            };
            let conditions = all.sql();
            let (interval, groups) = match width {
                None => ("0::int8".to_owned(), "1"),
                Some(width) => {
                    let times = all.place(width / of);
                    // Division rounds towards zero there.
                    let less = format!("(CASE WHEN {number} % {times}::int8 < 0 THEN 1 ELSE 0 END)");
                    (format!("{number} / {times}::int8 - {less}"), "1, 2")
                }
            };
            let sql = format!("SELECT label, {interval}, {alerts} FROM {table} WHERE {conditions} GROUP BY {groups}");
            for row in self.rows(&sql, &all.values()).await? {
                let (label, interval, number): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
                if let Some(width) = width {
                    *intervals.entry((interval.saturating_mul(width), label)).or_default() += number;
                }
                *totals.entry(label).or_default() += number;
            }
        }
        Ok((totals, intervals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_index_has_is_bounded() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(indexed(&words(&["b", "a", "b"])), (" b a b ".to_owned(), "a b".to_owned()));
        assert_eq!(indexed(&[]), (String::new(), String::new()));
        let long = "é".repeat(TOKEN_MAX);
        let (all, tokens) = indexed(&words(&[&long]));
        assert!(all.len() == long.len() + 2 && tokens.len() == TOKEN_MAX);
        let many: Vec<String> = (0..TOKENS_MAX / 4).map(|number| format!("{number:08}")).collect();
        assert_eq!(indexed(&many).1, ANY);
    }
}
