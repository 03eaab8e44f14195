//! What the log says of an output's health: a line when it goes down, and one when it has worked again for a while.
//!
//! An output that fails and works by turns changes with every delivery; `/readyz`, the metrics and the page say so each time.
//! The log would drown in it: there a state counts when it lasts. So it is with dead letters: the first of many is a line, and
//! how many followed is one when no more come. Not here: when to try again.

use std::time::Duration;
use tokio::time::Instant;

/// How long an output must have worked without a failure before the log says that it works.
pub const LASTING: Duration = Duration::from_secs(10);

/// Known to work, or not yet known, when there is no trouble.
#[derive(Debug, Default)]
pub struct Health(Option<Trouble>);

#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// Times it went down.
    times: u32,
    works_since: Option<Instant>,
}

/// A trouble that is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Over {
    /// From the first failure to the delivery since which all went well.
    pub lasted: Duration,
    pub times: u32,
}

impl Health {
    /// Something failed for a reason that would meet every alert. True when that is news.
    pub fn failed(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            None => {
                self.0 = Some(Trouble { since: now, times: 1, works_since: None });
                true
            }
            Some(trouble) => {
                trouble.times = trouble.times.saturating_add(u32::from(trouble.works_since.take().is_some()));
                false
            }
        }
    }

    /// Something was taken.
    pub fn works(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.0 {
            trouble.works_since.get_or_insert(now);
        }
    }

    /// The trouble, once it has been over for long enough.
    pub fn over(&mut self, now: Instant) -> Option<Over> {
        let trouble = self.0.take_if(|trouble| trouble.works_since.is_some_and(|since| now >= since + LASTING))?;
        let end = trouble.works_since.unwrap_or(now);
        Some(Over { lasted: end.saturating_duration_since(trouble.since), times: trouble.times })
    }
}

/// Dead letters that come one after the other.
#[derive(Debug, Default)]
pub struct Letters(Option<Spate>);

#[derive(Debug)]
struct Spate {
    last: Instant,
    /// After the first.
    more: u64,
}

impl Letters {
    /// There is another one. True when that is news.
    pub fn another(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            None => {
                self.0 = Some(Spate { last: now, more: 0 });
                true
            }
            Some(spate) => {
                (spate.last, spate.more) = (now, spate.more.saturating_add(1));
                false
            }
        }
    }

    /// How many followed the one that was news, once none has come for long enough.
    pub fn over(&mut self, now: Instant) -> Option<u64> {
        self.0.take_if(|spate| now >= spate.last + LASTING).map(|spate| spate.more)
    }

    /// The same at once: the hub stops.
    pub fn end(&mut self) -> Option<u64> {
        self.0.take().map(|spate| spate.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_news_when_it_lasts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::default();
        health.works(at(0));
        assert_eq!(health.over(at(100)), None, "it was never down");
        assert!(health.failed(at(100)));
        assert!(!health.failed(at(101)));
        // By turns: nothing is said.
        for second in (102..160).step_by(4) {
            health.works(at(second));
            assert_eq!(health.over(at(second + 1)), None);
            assert!(!health.failed(at(second + 2)));
        }
        health.works(at(170));
        health.works(at(179));
        assert_eq!(health.over(at(179)), None);
        assert_eq!(health.over(at(180)), Some(Over { lasted: Duration::from_secs(70), times: 16 }));
        assert_eq!(health.over(at(200)), None);
        assert!(health.failed(at(201)), "news again");
    }

    #[test]
    fn the_first_of_many_letters_is_news() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut letters = Letters::default();
        assert_eq!(letters.over(at(100)), None, "there was none");
        assert!(letters.another(at(0)) && !letters.another(at(5)) && !letters.another(at(14)));
        assert_eq!(letters.over(at(23)), None);
        assert_eq!(letters.over(at(24)), Some(2));
        assert_eq!(letters.over(at(50)), None);
        assert!(letters.another(at(51)), "news again");
        assert_eq!(letters.end(), Some(0));
    }
}
