//! The store: what the page and its interface ask about alerts, and what an operator changes of them.
//!
//! There are two. [`sqlite`] is the hub's own spool; [`postgresql`] is shared by several hubs, and each brings to it what
//! its spool keeps. Both answer alike: `tests/hub/store.rs` asks both the same. The filters are those of Falcosidekick UI
//! (`priority`, `rule`, `source`, `hostname`, `tags`, `since`, free text), and more: an interval, fields, exclusion. Not
//! here: HTTP; what outputs still have to get, which is the spool's alone.

mod counts;
pub mod postgresql;
pub mod sqlite;
pub mod words;

use super::alert::{Alert, Priority};
use super::spool::{Seq, Spool, SpoolError, State};
use postgresql::PostgreSql;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The server does not answer as it should.
    #[error("the shared store ({server}): {what}")]
    Shared { server: String, what: String },
    #[error("the hub is stopping")]
    Stopping,
}

/// Where alerts are looked for.
#[derive(Clone)]
pub enum Store {
    Own(Arc<Spool>),
    Shared(Arc<PostgreSql>),
}

impl Store {
    /// The spool itself, or what `shared` says. A server that cannot be reached is no error here.
    pub fn new(shared: Option<postgresql::Settings>, spool: &Arc<Spool>) -> Result<Store, StoreError> {
        Ok(match shared {
            None => Store::Own(spool.clone()),
            Some(settings) => Store::Shared(Arc::new(PostgreSql::new(settings, spool.clone())?)),
        })
    }

    /// The keys of the bounds of what is kept in it: size and age.
    pub fn bounds(&self) -> [&'static str; 2] {
        match self {
            Store::Own(_) => ["hub.maxsize", "hub.retention"],
            Store::Shared(_) => ["hub.postgresql.maxsize", "hub.postgresql.retention"],
        }
    }

    /// The number of the newest alert.
    pub async fn latest(&self) -> Result<Seq, StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.state().borrow().latest),
            Store::Shared(shared) => shared.latest().await,
        }
    }

    /// Changes when alerts come; a shared store is looked at twice a second while anybody holds what this returns.
    pub fn state(&self) -> watch::Receiver<State> {
        match self {
            Store::Own(spool) => spool.state(),
            Store::Shared(shared) => shared.state(),
        }
    }

    /// Alerts by their own time, the newest first.
    pub async fn search(&self, filter: Filter, skip: usize, limit: usize) -> Result<Vec<Found>, StoreError> {
        self.ordered(filter, Order::Newest, skip, limit).await
    }

    /// Alerts by their own time, the newest first, and how many there are in all.
    pub async fn page(&self, filter: Filter, skip: usize, limit: usize) -> Result<(Vec<Found>, i64), StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.page(filter, skip, limit).await?),
            Store::Shared(shared) => {
                let found = shared.ordered(&filter, Order::Newest, skip, limit);
                let (found, counted) = tokio::try_join!(found, shared.overview(&filter, &[], None))?;
                Ok((found, counted.all))
            }
        }
    }

    /// Alerts by their own time, the oldest first.
    pub async fn nearest(&self, filter: Filter, limit: usize) -> Result<Vec<Found>, StoreError> {
        self.ordered(filter, Order::Oldest, 0, limit).await
    }

    /// Alerts in the order in which they came into the store.
    pub async fn arrived(&self, filter: Filter, limit: usize) -> Result<Vec<Found>, StoreError> {
        self.ordered(filter, Order::Arrival, 0, limit).await
    }

    async fn ordered(&self, filter: Filter, order: Order, skip: usize, limit: usize) -> Result<Vec<Found>, StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.ordered(filter, order, skip, limit).await?),
            Store::Shared(shared) => shared.ordered(&filter, order, skip, limit).await,
        }
    }

    pub async fn by_uuid(&self, uuid: &str) -> Result<Option<Found>, StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.by_uuid(uuid).await?),
            Store::Shared(shared) => shared.by_uuid(uuid).await,
        }
    }

    pub async fn count(&self, filter: Filter) -> Result<i64, StoreError> {
        Ok(self.overview(filter, Vec::new(), None).await?.all)
    }

    pub async fn count_by(&self, group: Group, filter: Filter) -> Result<Counts, StoreError> {
        Ok(self.overview(filter, vec![group], None).await?.groups.remove(0))
    }

    /// Counts by each of `groups`; with a `width` in nanoseconds, per interval as well.
    pub async fn overview(
        &self,
        filter: Filter,
        groups: Vec<Group>,
        width: Option<i64>,
    ) -> Result<Overview, StoreError> {
        let width = width.map(|width| width.max(1));
        match self {
            Store::Own(spool) => Ok(spool.overview(filter, groups, width).await?),
            Store::Shared(shared) => shared.overview(&filter, &groups, width).await,
        }
    }

    /// The alerts' own times, from the first to the last; nothing when there are none.
    pub async fn span(&self) -> Result<Option<(i64, i64)>, StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.span().await?),
            Store::Shared(shared) => shared.span().await,
        }
    }

    /// Returns how many alerts were changed.
    pub async fn change(&self, change: Change) -> Result<usize, StoreError> {
        match self {
            Store::Own(spool) => Ok(spool.change(change).await?),
            Store::Shared(shared) => shared.change(change).await,
        }
    }
}

/// The order of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Newest,
    Oldest,
    Arrival,
}

impl Order {
    /// In SQL, of both stores.
    fn sql(self) -> &'static str {
        match self {
            Order::Newest => "time DESC, seq DESC",
            Order::Oldest => "time, seq",
            Order::Arrival => "seq",
        }
    }
}

/// Which alerts. Lists: one of them; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub priorities: Vec<Priority>,
    pub rules: Vec<String>,
    pub sources: Vec<String>,
    pub hostnames: Vec<String>,
    pub tags: Vec<String>,
    /// Rules that are left out.
    pub not_rules: Vec<String>,
    /// Fields and the text they must have.
    pub fields: Vec<(String, String)>,
    /// Words that must all occur, in the text, the rule, the tags or the fields.
    pub text: String,
    /// The alert's own time, nanoseconds since 1970: not before, and before.
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub acknowledged: Option<bool>,
    /// Received after this one.
    pub after: Option<Seq>,
    /// Behind this time and number, in the order of a search.
    pub behind: Option<(i64, Seq)>,
}

/// What alerts are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Priority,
    Rule,
    Source,
    Hostname,
    Tags,
}

impl Group {
    pub const ALL: [Group; 5] = [Group::Priority, Group::Rule, Group::Source, Group::Hostname, Group::Tags];

    pub fn name(self) -> &'static str {
        match self {
            Group::Priority => "priority",
            Group::Rule => "rule",
            Group::Source => "source",
            Group::Hostname => "hostname",
            Group::Tags => "tags",
        }
    }

    pub fn from_name(name: &str) -> Option<Group> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// How many alerts, by the names of something. By tags, an alert counts for each; no hostname is the empty text.
pub type Counts = BTreeMap<String, i64>;

/// What was counted in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    pub all: i64,
    /// For each group that was asked for.
    pub groups: Vec<Counts>,
    /// The same per interval, by its start.
    pub timelines: Vec<BTreeMap<i64, Counts>>,
}

/// What alerts are counted by. Many alerts share a label, so that counting reads little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub priority: Priority,
    pub rule: String,
    pub source: String,
    pub hostname: String,
    /// Sorted, each once.
    pub tags: Vec<String>,
}

impl Label {
    pub fn of(alert: &Alert) -> Label {
        let mut tags = alert.sorted_tags();
        tags.dedup();
        Label {
            priority: alert.priority,
            rule: alert.rule.clone(),
            source: alert.source.clone(),
            hostname: alert.hostname.clone(),
            tags: tags.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The names under which an alert counts.
    fn names(&self, group: Group) -> Vec<&str> {
        match group {
            Group::Priority => vec![self.priority.name()],
            Group::Rule => vec![&self.rule],
            Group::Source => vec![&self.source],
            Group::Hostname => vec![&self.hostname],
            Group::Tags => self.tags.iter().map(String::as_str).collect(),
        }
    }
}

/// Alerts by the number of their label.
type Totals = HashMap<i64, i64>;
/// The same by the start of an interval and the number of the label.
type Intervals = HashMap<(i64, i64), i64>;

impl Overview {
    /// Counts under names. A label that went meanwhile has no names any more: its alerts count in `all` only.
    fn of(groups: &[Group], totals: &Totals, intervals: Option<&Intervals>, labels: &[(i64, Label)]) -> Overview {
        let mut overview = Overview { all: totals.values().sum(), ..Overview::default() };
        for group in groups {
            // A label's names are looked up once, however many intervals it is in: there they are numbers.
            let (mut names, mut numbers) = (Vec::new(), HashMap::new());
            let mut number_of = |name| {
                *numbers.entry(name).or_insert_with(|| {
                    names.push(name);
                    names.len() - 1
                })
            };
            let of_label: HashMap<i64, Vec<usize>> = labels
                .iter()
                .map(|(id, label)| (*id, label.names(*group).into_iter().map(&mut number_of).collect()))
                .collect();
            let of_label = |id: &i64| of_label.get(id).into_iter().flatten().copied();
            let mut counts = vec![0; names.len()];
            for (id, alerts) in totals {
                of_label(id).for_each(|name| counts[name] += alerts);
            }
            overview.groups.push(names.iter().map(|name| (*name).to_owned()).zip(counts).collect());
            let Some(intervals) = intervals else { continue };
            let mut counts: HashMap<(i64, usize), i64> = HashMap::new();
            for ((start, id), alerts) in intervals {
                of_label(id).for_each(|name| *counts.entry((*start, name)).or_default() += alerts);
            }
            let mut timeline: BTreeMap<i64, Counts> = BTreeMap::new();
            for ((start, name), alerts) in counts {
                timeline.entry(start).or_default().insert(names[name].to_owned(), alerts);
            }
            overview.timelines.push(timeline);
        }
        overview
    }
}

/// An alert as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub seq: Seq,
    /// Nanoseconds since 1970, as the alert says.
    pub time: i64,
    /// Milliseconds since 1970.
    pub received: i64,
    /// The alert as JSON.
    pub body: String,
    pub acknowledged: Option<Acknowledged>,
    /// The hub that received it, where several share a store.
    pub hub: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Milliseconds since 1970.
    pub at: i64,
    pub by: String,
    pub note: String,
}

/// A change to alerts.
#[derive(Clone, Debug)]
pub enum Change {
    Acknowledge { uuid: String, by: String, note: String },
    Unacknowledge { uuid: String },
    Delete { uuid: String },
}
