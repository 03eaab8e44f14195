//! Tables of necessary conditions (`struct fsn_filter` of `kmod/abi.h`), from conditions over what the module can test.
//!
//! Invariant: what is built is accepted by the module, and passes whatever the condition passes; where something does not
//! fit, the table passes more.

use crate::driver::abi::{self, fsn_filter, fsn_program, fsn_set, fsn_step, fsn_string, fsn_test};
use crate::filter::necessary::Need;
use std::collections::BTreeSet;
use std::mem::size_of;

/// Texts, and how each is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Texts {
    pub exact: BTreeSet<Vec<u8>>,
    pub prefix: BTreeSet<Vec<u8>>,
    pub suffix: BTreeSet<Vec<u8>>,
    pub contained: BTreeSet<Vec<u8>>,
}

/// What the module can test of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// The result lies between the two.
    Result(i64, i64),
    /// The access mode in an open's flags (a register) is one of these, as bits.
    Access(u8, u8),
    /// A register has one of these bits.
    Bits(u8, u32),
    /// A register is a number between the two.
    Value(u8, i32, i32),
    /// The descriptor is of one of these kinds (`FSN_KIND_*`), or there is none.
    Socket(u32),
    /// One of the ports that are meant (`FSN_PORT_*`) lies between the two, or it is not known.
    Port(u8, u16, u16),
    /// One of the texts that are meant (`FSN_TEXT_*`) is among these.
    Text(u32, Texts),
}

/// Where a call has what its conditions ask about; registers as `fsn_program` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: Option<u8>,
    pub dirfd: Option<u8>,
    /// A register, or [`RESULT`].
    pub fd: Option<u8>,
}

/// The register that stands for the result.
pub const RESULT: u8 = abi::FSN_REG_RESULT as u8;

impl Texts {
    fn all(&self) -> impl Iterator<Item = &BTreeSet<Vec<u8>>> {
        [&self.exact, &self.prefix, &self.suffix, &self.contained].into_iter()
    }

    /// A guess at how many texts are in the set: a long one is seldom met, nor is one with `..`.
    fn breadth(&self) -> f64 {
        let parts = [&self.prefix, &self.suffix, &self.contained].into_iter().flatten();
        parts.filter(|text| !is_dotted(text)).map(|text| 0.5_f64.powi(text.len().min(64) as i32)).sum()
    }

    /// Whether for certain a text that is in this set is in the other.
    fn is_part_of(&self, other: &Texts) -> bool {
        let begins = |text: &[u8]| other.prefix.iter().any(|with| text.starts_with(with));
        let ends = |text: &[u8]| other.suffix.iter().any(|with| text.ends_with(with));
        let contains = |text: &[u8]| other.contained.iter().any(|part| holds(text, part));
        self.exact.iter().all(|text| other.exact.contains(text) || begins(text) || ends(text) || contains(text))
            && self.prefix.iter().all(|text| begins(text) || contains(text))
            && self.suffix.iter().all(|text| ends(text) || contains(text))
            && self.contained.iter().all(|text| contains(text))
    }

    fn join(&mut self, other: &Texts) {
        self.exact.extend(other.exact.iter().cloned());
        self.prefix.extend(other.prefix.iter().cloned());
        self.suffix.extend(other.suffix.iter().cloned());
        self.contained.extend(other.contained.iter().cloned());
    }

    /// Whether the module takes a set of these. An empty text is in every other, which it does not say.
    fn fits(&self) -> bool {
        let fits = |text: &Vec<u8>| (1..=abi::FSN_STRING_MAX as usize).contains(&text.len());
        self.all().flatten().all(fits) && self.contained.len() <= abi::FSN_NEEDLES_MAX as usize
    }
}

impl Test {
    /// What takes longer is asked later.
    fn cost(&self) -> u8 {
        match self {
            Test::Result(..) => 0,
            Test::Access(..) | Test::Bits(..) | Test::Value(..) => 1,
            Test::Socket(_) => 2,
            Test::Port(..) => 3,
            Test::Text(of, texts) => {
                let opened = if of & abi::FSN_TEXT_OPENED != 0 { 1 } else { 0 };
                4 + opened + if texts.contained.is_empty() { 0 } else { 2 }
            }
        }
    }

    const fn is_object(&self) -> bool {
        matches!(self, Test::Socket(_) | Test::Port(..) | Test::Text(..))
    }
}

fn cost(need: &Need<Test>) -> u8 {
    match need {
        Need::Always | Need::Never => 0,
        Need::Is(test) => test.cost(),
        Need::All(parts) | Need::Any(parts) => parts.iter().map(cost).max().unwrap_or(0),
    }
}

/// The same condition, asked in a better order: what several alternatives require is asked once and before them, texts
/// that any of several sets may hold are one set, what is cheap comes first.
fn arranged(need: Need<Test>) -> Need<Test> {
    match need {
        Need::All(parts) => {
            let mut parts: Vec<_> = match Need::all(parts.into_iter().map(arranged).collect::<Vec<_>>()) {
                Need::All(parts) => parts,
                other => return other,
            };
            parts.sort_by_key(cost);
            Need::All(parts)
        }
        Need::Any(parts) => match Need::any(parts.into_iter().map(arranged).collect::<Vec<_>>()) {
            Need::Any(parts) => factored(absorbed(parts)),
            other => other,
        },
        other => other,
    }
}

fn parts_of(need: &Need<Test>) -> &[Need<Test>] {
    match need {
        Need::All(parts) => parts,
        one => std::slice::from_ref(one),
    }
}

/// Alternatives without those that ask for all that another one asks for, and for more.
fn absorbed(alternatives: Vec<Need<Test>>) -> Vec<Need<Test>> {
    /// With more of them what is gained is not worth comparing each with each.
    const MOST: usize = 64;
    let implies = |one: &Need<Test>, other: &Need<Test>| match (one, other) {
        (Need::Is(Test::Text(of, texts)), Need::Is(Test::Text(other, all))) => of == other && texts.is_part_of(all),
        _ => one == other,
    };
    let weaker = |other: &Need<Test>, one: &Need<Test>| {
        parts_of(other).iter().all(|wanted| parts_of(one).iter().any(|part| implies(part, wanted)))
    };
    if alternatives.len() > MOST {
        return alternatives;
    }
    let is_needed = |at: &usize| {
        let others = alternatives.iter().enumerate().filter(|(other, _)| other != at);
        // Of two that ask for the same the first stays.
        !others
            .into_iter()
            .any(|(other, need)| weaker(need, &alternatives[*at]) && (other < *at || !weaker(&alternatives[*at], need)))
    };
    let needed: Vec<usize> = (0..alternatives.len()).filter(is_needed).collect();
    needed.into_iter().map(|at| alternatives[at].clone()).collect()
}

/// Alternatives, none of which is itself one.
fn factored(alternatives: Vec<Need<Test>>) -> Need<Test> {
    let alternatives = merged(alternatives);
    if alternatives.len() < 2 {
        return Need::any(alternatives);
    }
    // The cheapest of what more than one requires; of equals what most require.
    let mut best: Option<(u8, usize, Need<Test>)> = None;
    for part in alternatives.iter().flat_map(parts_of) {
        let count = alternatives.iter().filter(|one| parts_of(one).contains(part)).count();
        let better = |(cost_of, most, _): &(u8, usize, Need<Test>)| {
            (cost(part), usize::MAX - count) < (*cost_of, usize::MAX - *most)
        };
        if count > 1 && best.as_ref().is_none_or(better) {
            best = Some((cost(part), count, part.clone()));
        }
    }
    let Some((_, _, shared)) = best else {
        let mut alternatives = alternatives;
        alternatives.sort_by_key(cost);
        return Need::any(alternatives);
    };
    let (with, without): (Vec<_>, Vec<_>) = alternatives.into_iter().partition(|one| parts_of(one).contains(&shared));
    let rest = with.iter().map(|one| Need::all(parts_of(one).iter().filter(|part| **part != shared).cloned()));
    let rest = match Need::any(rest.collect::<Vec<_>>()) {
        Need::Any(parts) => factored(parts),
        other => other,
    };
    let joined = Need::all([shared, rest]);
    match without.is_empty() {
        true => joined,
        false => Need::any([
            joined,
            match Need::any(without) {
                Need::Any(parts) => factored(parts),
                other => other,
            },
        ]),
    }
}

/// Sets of the same texts become one.
fn merged(alternatives: Vec<Need<Test>>) -> Vec<Need<Test>> {
    let mut out: Vec<Need<Test>> = Vec::new();
    for one in alternatives {
        if let Need::Is(Test::Text(of, texts)) = &one {
            let same = out.iter_mut().find_map(|other| match other {
                Need::Is(Test::Text(other, all)) if other == of => Some(all),
                _ => None,
            });
            if let Some(all) = same {
                all.join(texts);
                continue;
            }
        }
        out.push(one);
    }
    out
}

/// What the module cannot take passes.
fn limited(need: &Need<Test>) -> Need<Test> {
    need.map(&mut |test| match test {
        Test::Text(_, texts) if !texts.fits() => Need::Always,
        test => Need::Is(test.clone()),
    })
}

/// Where every alternative has a text that it asks for, all these texts are asked for first, and once: mostly there is none.
fn led(need: Need<Test>) -> Need<Test> {
    let mut count = 0;
    tests_of(&need, &mut |test| count += usize::from(matches!(test, Test::Text(..))));
    let Some((of, texts)) = lead(&need).filter(|_| count > 1) else { return need };
    match limited(&Need::Is(Test::Text(of, texts))) {
        lead @ Need::Is(_) => match need {
            // What is cheaper stays before it.
            Need::All(parts) => {
                let (cheap, dear): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| cost(part) < 2);
                Need::all(cheap.into_iter().chain([lead]).chain(dear))
            }
            need => Need::all([lead, need]),
        },
        _ => need,
    }
}

/// Texts of which whatever passes has one, as few as there are; None where something may pass without.
fn lead(need: &Need<Test>) -> Option<(u32, Texts)> {
    match need {
        Need::Always => None,
        Need::Never => Some((0, Texts::default())),
        Need::Is(Test::Text(of, texts)) => Some((*of, texts.clone())),
        Need::Is(_) => None,
        Need::All(parts) => parts.iter().filter_map(lead).min_by(|(_, a), (_, b)| a.breadth().total_cmp(&b.breadth())),
        Need::Any(parts) => parts.iter().map(lead).try_fold((0, Texts::default()), |(of, mut all), lead| {
            let (more, texts) = lead?;
            all.join(&texts);
            Some((of | more, all))
        }),
    }
}

/// Whether whatever passes has a text that a rule names.
fn is_selective(need: &Need<Test>) -> bool {
    match need {
        Need::Always => false,
        Need::Never => true,
        Need::Is(test) => matches!(test, Test::Text(..)),
        Need::All(parts) => parts.iter().any(is_selective),
        Need::Any(parts) => parts.iter().all(is_selective),
    }
}

/// A condition by what each call says of itself: what is left of it for calls that succeeded, by access mode, and for those that
/// failed. Most rules ask each of them for other texts.
struct Entries {
    /// The register of the access mode.
    access: Option<u8>,
    needs: [Need<Test>; abi::FSN_ENTRIES as usize],
}

impl Entries {
    /// Told apart.
    fn of(need: &Need<Test>) -> Entries {
        let done = with_results(need, 0, i64::MAX);
        let mut access = None;
        tests_of(&done, &mut |test| {
            if let Test::Access(reg, _) = test {
                access.get_or_insert(*reg);
            }
        });
        let with_mode = |mode: i32| {
            done.map(&mut |test| match test {
                Test::Access(reg, modes) if Some(*reg) == access => match modes >> mode & 1 {
                    0 => Need::Never,
                    _ => Need::Always,
                },
                test => Need::Is(test.clone()),
            })
        };
        let needs = [
            with_mode(libc::O_RDONLY),
            with_mode(libc::O_WRONLY),
            with_mode(libc::O_RDWR),
            with_mode(libc::O_ACCMODE),
            with_results(need, i64::MIN, -1),
        ];
        Entries { access, needs: needs.map(|need| led(limited(&arranged(need)))) }
    }

    /// The same for every call.
    fn alike(need: &Need<Test>) -> Entries {
        let need = led(need.clone());
        Entries { access: None, needs: std::array::from_fn(|_| need.clone()) }
    }
}

/// What is left for results between the two.
fn with_results(need: &Need<Test>, least: i64, most: i64) -> Need<Test> {
    need.map(&mut |test| match test {
        Test::Result(low, high) if *low <= least && most <= *high => Need::Always,
        Test::Result(low, high) if most < *low || *high < least => Need::Never,
        test => Need::Is(test.clone()),
    })
}

fn tests_of<'n>(need: &'n Need<Test>, seen: &mut impl FnMut(&'n Test)) {
    match need {
        Need::Always | Need::Never => {}
        Need::Is(test) => seen(test),
        Need::All(parts) | Need::Any(parts) => parts.iter().for_each(|part| tests_of(part, seen)),
    }
}

/// Builds a table.
#[derive(Debug, Default)]
pub struct Builder {
    tests: Vec<fsn_test>,
    strings: Vec<fsn_string>,
    steps: Vec<fsn_step>,
    sets: Vec<fsn_set>,
    programs: Vec<fsn_program>,
    bytes: Vec<u8>,
    by_code: Vec<(u16, u8)>,
    known: Vec<(Need<Test>, Place, u8)>,
}

/// Pairs that are marked for contained texts: with more of them most texts have one, and nothing is gained by longer steps.
const MOST_MARKS: usize = 64;

const PASS: u16 = abi::FSN_STEP_PASS as u16;
const STOP: u16 = abi::FSN_STEP_STOP as u16;
const NONE: u8 = abi::FSN_REG_NONE as u8;

/// The steps of one program on their way.
struct Steps {
    tests: Vec<Test>,
    /// Test, then where to go on: labels, or an end.
    steps: Vec<(usize, Label, Label)>,
    /// By label: the step it stands before.
    labels: Vec<Option<usize>>,
    /// Where a call begins, as in [`Entries`].
    entries: Vec<Label>,
}

#[derive(Clone, Copy)]
enum Label {
    Pass,
    Stop,
    At(usize),
}

impl Steps {
    fn of(entries: &Entries) -> Steps {
        let mut steps = Steps { tests: Vec::new(), steps: Vec::new(), labels: Vec::new(), entries: Vec::new() };
        for (at, need) in entries.needs.iter().enumerate() {
            let same = entries.needs[..at].iter().position(|other| other == need);
            let label = match (need, same) {
                (Need::Always, _) => Label::Pass,
                (Need::Never, _) => Label::Stop,
                (_, Some(same)) => steps.entries[same],
                _ => {
                    let label = steps.label();
                    steps.place(label);
                    steps.write(need, Label::Pass, Label::Stop);
                    label
                }
            };
            steps.entries.push(label);
        }
        steps
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label::At(self.labels.len() - 1)
    }

    fn place(&mut self, label: Label) {
        if let Label::At(at) = label {
            self.labels[at] = Some(self.steps.len());
        }
    }

    /// Everything goes forward: whatever is jumped to is written later. `need` is neither `Always` nor `Never`.
    fn write(&mut self, need: &Need<Test>, yes: Label, no: Label) {
        let (parts, all) = match need {
            Need::Is(test) => {
                let at = self.tests.iter().position(|other| other == test).unwrap_or_else(|| {
                    self.tests.push(test.clone());
                    self.tests.len() - 1
                });
                self.steps.push((at, yes, no));
                return;
            }
            Need::All(parts) => (parts, true),
            Need::Any(parts) => (parts, false),
            Need::Always | Need::Never => unreachable!("constants are gone once parts are joined"),
        };
        for (at, part) in parts.iter().enumerate() {
            if at + 1 == parts.len() {
                self.write(part, yes, no);
                continue;
            }
            let next = self.label();
            match all {
                true => self.write(part, next, no),
                false => self.write(part, yes, next),
            }
            self.place(next);
        }
    }
}

impl Builder {
    /// Conditions for events of a code; whatever does not fit lets everything pass. True when some do not.
    pub fn add(&mut self, code: u16, need: Need<Test>, place: Place) -> bool {
        let need = limited(&arranged(need));
        let known = self.known.iter().find(|(other, at, _)| *other == need && *at == place).map(|(.., number)| *number);
        let number = known.or_else(|| self.program(&need, place));
        let Some(number) = number.filter(|_| u32::from(code) < abi::FSN_FILTER_CODES) else { return false };
        if known.is_none() {
            self.known.push((need, place, number));
        }
        self.by_code.push((code, number));
        true
    }

    /// The number of a new program, counted from 1.
    fn program(&mut self, need: &Need<Test>, place: Place) -> Option<u8> {
        // What can never match is not asked for in the first place; should it be, nothing is said of it.
        if matches!(need, Need::Always | Need::Never) {
            return None;
        }
        // What is told apart is larger: half of the room is for what is not.
        let room = [abi::FSN_FILTER_MAX as usize / 2, abi::FSN_FILTER_MAX as usize];
        let ways =
            [Entries::of(need), Entries::alike(need)].into_iter().map(|entries| (Steps::of(&entries), entries.access));
        let fitting = ways.zip(room).find(|((steps, _), room)| self.fits(steps, *room));
        let Some(((steps, access), _)) = fitting else {
            let cheap = need.map(&mut |test| if test.is_object() { Need::Always } else { Need::Is(test.clone()) });
            return if cheap == *need { None } else { self.program(&cheap, place) };
        };
        if steps.steps.is_empty() {
            // Told apart it says nothing.
            return None;
        }
        let (first_step, first_test) = (self.steps.len() as u16, self.tests.len() as u16);
        for test in &steps.tests {
            let raw = self.test(test);
            self.tests.push(raw);
        }
        let target = |label: Label| match label {
            Label::Pass => PASS,
            Label::Stop => STOP,
            Label::At(at) => first_step + steps.labels[at].expect("every label is placed") as u16,
        };
        let raw = steps.steps.iter().map(|(test, yes, no)| fsn_step {
            test: first_test + *test as u16,
            yes: target(*yes),
            no: target(*no),
            reserved: 0,
        });
        self.steps.extend(raw);
        let mut flags = 0;
        flags |= if is_selective(need) { abi::FSN_PROGRAM_URGENT } else { 0 };
        self.programs.push(fsn_program {
            step: first_step,
            steps: steps.steps.len() as u16,
            test: first_test,
            entry: std::array::from_fn(|at| target(steps.entries[at])),
            access: access.unwrap_or(NONE),
            tests: steps.tests.len() as u8,
            path: place.path.unwrap_or(NONE),
            dirfd: place.dirfd.unwrap_or(NONE),
            fd: place.fd.unwrap_or(NONE),
            flags: flags as u8,
        });
        Some(self.programs.len() as u8)
    }

    /// Of the blob so far.
    fn size(&self) -> usize {
        size_of::<fsn_filter>()
            + size_of::<fsn_test>() * self.tests.len()
            + size_of::<fsn_string>() * self.strings.len()
            + size_of::<fsn_step>() * self.steps.len()
            + size_of::<fsn_set>() * self.sets.len()
            + size_of::<fsn_program>() * self.programs.len()
            + self.bytes.len()
    }

    /// Whether there is room for a program, the blob having no more than so many bytes with it.
    fn fits(&self, steps: &Steps, room: usize) -> bool {
        let texts = |test: &Test| match test {
            Test::Text(_, t) => t.all().map(|texts| texts.len()).sum(),
            _ => 0,
        };
        let bytes = |test: &Test| match test {
            Test::Text(_, t) => {
                let strings = t.all().flatten().map(|text| text.len() + size_of::<fsn_string>());
                size_of::<fsn_set>() + strings.sum::<usize>()
            }
            _ => 0,
        };
        let tests = &steps.tests;
        let added = size_of::<fsn_program>()
            + size_of::<fsn_step>() * steps.steps.len()
            + size_of::<fsn_test>() * tests.len()
            + tests.iter().map(bytes).sum::<usize>();
        tests.len() <= abi::FSN_PROGRAM_TESTS as usize
            && steps.steps.len() <= abi::FSN_PROGRAM_STEPS as usize
            && self.size() + added <= room
            && self.steps.len() + steps.steps.len() < usize::from(STOP)
            && self.strings.len() + tests.iter().map(texts).sum::<usize>() <= usize::from(u16::MAX)
            && self.programs.len() < usize::from(u8::MAX)
    }

    fn test(&mut self, test: &Test) -> fsn_test {
        let raw = |kind: u32| fsn_test { kind: kind as u8, ..fsn_test::default() };
        match test {
            Test::Result(low, high) => fsn_test { low: *low, high: *high, ..raw(abi::FSN_TEST_RESULT) },
            Test::Access(reg, modes) => fsn_test { reg: *reg, low: i64::from(*modes), ..raw(abi::FSN_TEST_ACCESS) },
            Test::Bits(reg, bits) => fsn_test { reg: *reg, low: i64::from(*bits), ..raw(abi::FSN_TEST_BITS) },
            Test::Value(reg, low, high) => {
                fsn_test { reg: *reg, low: i64::from(*low), high: i64::from(*high), ..raw(abi::FSN_TEST_VALUE) }
            }
            Test::Socket(kinds) => fsn_test { low: i64::from(*kinds), ..raw(abi::FSN_TEST_SOCKET) },
            Test::Port(of, low, high) => {
                fsn_test { reg: *of, low: i64::from(*low), high: i64::from(*high), ..raw(abi::FSN_TEST_PORT) }
            }
            Test::Text(of, texts) => {
                let set = self.set(texts);
                fsn_test { set, low: i64::from(*of), ..raw(abi::FSN_TEST_TEXT) }
            }
        }
    }

    fn set(&mut self, texts: &Texts) -> u16 {
        let mut set = fsn_set::default();
        let prefixes = shortest(texts.prefix.iter().cloned());
        // Sorted by their ends, hence turned round while that is done.
        let turned = |text: &Vec<u8>| text.iter().rev().copied().collect::<Vec<u8>>();
        let suffixes: Vec<Vec<u8>> = shortest(texts.suffix.iter().map(turned)).iter().map(turned).collect();
        let exact = texts.exact.iter().cloned().collect();
        let (dotted, contained) = innermost(&texts.contained).into_iter().partition(|text| is_dotted(text));
        let parts: [Vec<Vec<u8>>; abi::FSN_SET_PARTS as usize] = [exact, prefixes, suffixes, contained, dotted];
        for part in [abi::FSN_SET_CONTAINED, abi::FSN_SET_DOTTED] {
            let texts = &parts[part as usize];
            let least = texts.iter().map(Vec::len).min().unwrap_or(1);
            let step = (least - 1).min(MOST_MARKS / texts.len().max(1)).min(usize::from(u8::MAX));
            set.step[part as usize] = step as u8;
            let pairs =
                |text: &Vec<u8>| (0..step.max(1)).map(|at| (text[at], text.get(at + 1).copied())).collect::<Vec<_>>();
            mark(&mut set, part, texts.iter().flat_map(pairs));
        }
        for (part, texts) in set.part.iter_mut().zip(parts) {
            part.first = self.strings.len() as u16;
            part.count = texts.len() as u16;
            for text in texts {
                self.strings.push(fsn_string { at: self.bytes.len() as u32, len: text.len() as u16, reserved: 0 });
                self.bytes.extend(text);
            }
        }
        mark(&mut set, abi::FSN_SET_EXACT, texts.exact.iter().map(|t| (t[t.len() - 1], Some(t.len() as u8))));
        // As far behind as all have one: paths begin alike.
        let least = texts.prefix.iter().map(Vec::len).min().unwrap_or(0);
        let at = least.saturating_sub(2).min(usize::from(u8::MAX));
        set.step[abi::FSN_SET_PREFIX as usize] = at as u8;
        mark(&mut set, abi::FSN_SET_PREFIX, texts.prefix.iter().map(|t| (t[at], t.get(at + 1).copied())));
        mark(
            &mut set,
            abi::FSN_SET_SUFFIX,
            texts.suffix.iter().map(|t| (t[t.len() - 1], t.iter().rev().nth(1).copied())),
        );
        self.sets.push(set);
        self.sets.len() as u16 - 1
    }

    /// The blob, or None when nothing is to be tested or there is too much of it.
    pub fn finish(self) -> Option<Vec<u8>> {
        let mut head = fsn_filter {
            tests: self.tests.len() as u16,
            strings: self.strings.len() as u16,
            steps: self.steps.len() as u16,
            sets: self.sets.len() as u16,
            programs: self.programs.len() as u16,
            bytes: self.bytes.len() as u32,
            ..fsn_filter::default()
        };
        for (code, number) in &self.by_code {
            head.program[usize::from(*code)] = *number;
        }
        let size = self.size();
        if self.programs.is_empty() || size > abi::FSN_FILTER_MAX as usize {
            return None;
        }
        head.size = size as u32;
        let mut out = Vec::with_capacity(size);
        abi::push(&[head], &mut out);
        abi::push(&self.tests, &mut out);
        abi::push(&self.strings, &mut out);
        abi::push(&self.steps, &mut out);
        abi::push(&self.sets, &mut out);
        abi::push(&self.programs, &mut out);
        out.extend(&self.bytes);
        Some(out)
    }
}

/// Marks a part's texts: two bytes each; any second where there is none.
fn mark(set: &mut fsn_set, part: u32, texts: impl Iterator<Item = (u8, Option<u8>)>) {
    for (first, second) in texts {
        for second in second.map_or(0..=u8::MAX, |second| second..=second) {
            // FSN_PAIR
            let pair = (usize::from(first) << 5 ^ usize::from(second)) % abi::FSN_PAIRS as usize;
            set.pairs[pair] |= 1 << part;
        }
    }
}

/// Whether two of `.` and `/` stand side by side.
fn is_dotted(text: &[u8]) -> bool {
    text.windows(2).any(|two| two.iter().all(|byte| matches!(byte, b'.' | b'/')))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// Those that contain no other: who has one of the others has one of these.
fn innermost(texts: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
    let is_innermost = |text: &&Vec<u8>| !texts.iter().any(|other| other != *text && holds(text, other));
    texts.iter().filter(is_innermost).cloned().collect()
}

/// Sorted, without those that begin with another.
fn shortest(texts: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let sorted: BTreeSet<Vec<u8>> = texts.collect();
    let mut out: Vec<Vec<u8>> = Vec::new();
    for text in sorted {
        if out.last().is_none_or(|last| !text.starts_with(last)) {
            out.push(text);
        }
    }
    out
}
