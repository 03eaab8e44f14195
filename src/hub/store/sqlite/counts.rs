//! Questions to the table `counts`, which triggers keep.

use super::Where;
use crate::hub::store::counts::{Part, parts};
use crate::hub::store::{Filter, Intervals, Totals};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

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
    for part in parts((filter.from, filter.to), &widths, width) {
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
