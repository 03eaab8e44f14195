//! What the configuration adds to every alert before it is kept: fields, tags, and the form of its text.
//!
//! The order is Falcosidekick's: fields, tags, source, templates, sorted tags, brackets, form of the output, size.
//! Invariant: applying cannot fail; a template that cannot be evaluated leaves its field out and is logged.

use super::alert::{Alert, Priority, Refused, TEST_RULE};
use super::config::{Problem, Section};
use super::json::{Json, head};
use super::template::Template;
use regex::Regex;
use uuid::Uuid;

pub struct Enrich {
    fields: Vec<(String, String)>,
    templates: Vec<(String, Template)>,
    tags: Vec<String>,
    bracket: String,
    format: String,
    /// Falco's head of an output: time and priority.
    head: Regex,
}

/// An alert larger than this has its long texts cut.
const SIZE_MAX: usize = 4096;
const TEXT_MAX: usize = 512;
const CUT: &str = "[...]";

/// The uuid that a text is, in any of its forms. One of zeros alone names nothing.
pub fn identity(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.trim()).ok().filter(|uuid| !uuid.is_nil() && !uuid.is_max())
}

impl Enrich {
    pub fn new(core: &Section) -> Result<Enrich, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut templates = Vec::new();
        for (name, text) in core.map("templatedfields") {
            match Template::parse(text) {
                Ok(template) => templates.push((name.clone(), template)),
                Err(error) => {
                    problems.push(Problem { place: format!("templatedfields.{name}"), message: error.to_string() });
                }
            }
        }
        // `Informational` was never written `Info` by those who rely on this.
        let names: Vec<_> = Priority::ALL.iter().map(|p| p.name()).collect();
        let head = match Regex::new(&format!(r"[0-9:]+\.[0-9]+: ({})", names.join("|"))) {
            Ok(head) if problems.is_empty() => head,
            Ok(_) => return Err(problems),
            Err(error) => {
                problems.push(Problem { place: "outputfieldformat".to_owned(), message: error.to_string() });
                return Err(problems);
            }
        };
        Ok(Enrich {
            fields: core.map("customfields").to_vec(),
            templates,
            tags: core.list("customtags").to_vec(),
            bracket: core.text("bracketreplacer").to_owned(),
            format: core.text("outputfieldformat").to_owned(),
            head,
        })
    }

    /// Completes an alert that was just received. `known`: the uuid under which the hub before this one sent it; without one it
    /// gets a new one. What a hub before did is done again by this hub's configuration.
    pub fn apply(&self, alert: &mut Alert, known: Option<Uuid>) -> Result<(), Refused> {
        for (name, value) in &self.fields {
            alert.output_fields.insert(name.clone(), Json::from(value.as_str()));
        }
        alert.tags.extend(self.tags.iter().cloned());
        if alert.rule == TEST_RULE {
            "internal".clone_into(&mut alert.source);
        } else if alert.source.is_empty() {
            "syscalls".clone_into(&mut alert.source);
        }
        alert.uuid = known.unwrap_or_else(Uuid::new_v4).to_string();
        if !self.templates.is_empty() {
            let data = Json::Object(alert.output_fields.clone());
            for (name, template) in &self.templates {
                match template.render(&data) {
                    Ok(text) => {
                        alert.output_fields.insert(name.clone(), Json::String(text));
                    }
                    Err(error) => tracing::error!("templatedfields.{name}: {error}"),
                }
            }
        }
        alert.tags.sort_unstable();
        if known.is_some() {
            // The hub before may have the same `customtags`.
            alert.tags.dedup();
        }
        if !self.bracket.is_empty() {
            let renamed = |(name, value): (String, Json)| (name.replace(']', "").replace('[', &self.bracket), value);
            alert.output_fields = std::mem::take(&mut alert.output_fields).into_iter().map(renamed).collect();
        }
        self.form(alert);
        shorten(alert);
        if alert.output_fields.is_empty() { Err(Refused::Missing("output_fields")) } else { Ok(()) }
    }

    /// `outputfieldformat`, for an output that starts with a time and a priority.
    fn form(&self, alert: &mut Alert) {
        if self.format.is_empty() || !self.head.is_match(&alert.output) {
            return;
        }
        let mut words = alert.output.splitn(3, ' ');
        let (Some(time), Some(_), Some(rest)) = (words.next(), words.next(), words.next()) else { return };
        let pairs = |names: &mut dyn Iterator<Item = &String>| {
            let pair = |name: &String| Some(format!("{name}={}", alert.output_fields.get(name)?));
            names.filter_map(pair).collect::<Vec<_>>().join(" ")
        };
        let custom = pairs(&mut self.fields.iter().map(|(name, _)| name));
        let templated = pairs(&mut self.templates.iter().map(|(name, _)| name));
        let mut text = String::new();
        let mut format = self.format.as_str();
        // One pass: what a field holds is not looked at for tokens.
        while let Some(at) = format.find('<') {
            let (before, tail) = format.split_at(at);
            text.push_str(before);
            let tokens = [
                ("<timestamp>", time.trim_end_matches(':')),
                ("<priority>", alert.priority.name()),
                ("<output>", rest),
                ("<custom_fields>", &custom),
                ("<templated_fields>", &templated),
                ("<tags>", &alert.tags.join(",")),
            ];
            match tokens.iter().find_map(|(token, value)| Some((tail.strip_prefix(token)?, value))) {
                Some((after, value)) => {
                    text.push_str(value);
                    format = after;
                }
                None => {
                    text.push('<');
                    format = &tail[1..];
                }
            }
        }
        text.push_str(format);
        alert.output = text.replace("()", "").replace("( )", "").trim_end().to_owned();
    }
}

/// The size rule: long texts of a large alert are cut, within `output` too.
fn shorten(alert: &mut Alert) {
    if alert.line().len() <= SIZE_MAX {
        return;
    }
    for value in alert.output_fields.values_mut() {
        if let Json::String(text) = value
            && text.len() > TEXT_MAX
        {
            let cut = format!("{}{CUT}", head(text, TEXT_MAX - CUT.len()));
            alert.output = alert.output.replace(text.as_str(), &cut);
            *text = cut;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::config::{Sources, parse};

    fn applied(config: &str, alert: &mut Alert) {
        let sources = Sources { options: &[], environment: &|_| None };
        let config = parse(config, "hub.yaml", &sources).expect("valid");
        Enrich::new(&config.core).expect("valid").apply(alert, identity(&alert.uuid)).expect("accepted");
    }

    #[test]
    fn completed_in_order() {
        let mut alert = Alert::test();
        alert.rule = "r".to_owned();
        alert.source.clear();
        alert.output_fields.insert("proc.aname[2]".to_owned(), Json::from("sh"));
        let config = "customfields: {team: a}\ncustomtags: [zz, aa]\nbracketreplacer: _\n\
                      templatedfields: {who: '{{ index . \"proc.name\" }}@{{ .team }}', none: '{{ .x }}'}\n";
        applied(config, &mut alert);
        let fields: Vec<_> = alert.output_fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let expected = ["none=<no value>", "proc.aname_2=sh", "proc.name=falcosidekick", "team=a"];
        assert_eq!(fields[..4], expected);
        assert_eq!(fields[5], "who=falcosidekick@a");
        assert_eq!(alert.tags, ["aa", "example", "test", "zz"]);
        assert_eq!((alert.source.as_str(), alert.uuid.len()), ("syscalls", 36));
        applied("", &mut Alert::test());
    }

    #[test]
    fn of_another_hub() {
        let config = "customfields: {team: b}\ncustomtags: [test, x]\n";
        let mut alert = Alert::test();
        alert.uuid = "{0B5C4D0E-6B0C-4E47-8D0B-3E1F6A9C2D11}".to_owned();
        alert.hostname = "far".to_owned();
        applied(config, &mut alert);
        assert_eq!(alert.uuid, "0b5c4d0e-6b0c-4e47-8d0b-3e1f6a9c2d11");
        let once = alert.clone();
        applied(config, &mut alert);
        assert_eq!(alert, once, "the same hub's configuration changes nothing again");
        assert_eq!((alert.field("team"), alert.hostname.as_str()), (Some("b"), "far"));
        assert_eq!(alert.tags, ["example", "test", "x"]);
        for none in ["", "x", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            assert_eq!(identity(none), None, "{none}");
        }
    }

    #[test]
    fn form_of_the_output() {
        let mut alert = Alert::test();
        alert.output = "12:00:01.000000001: Notice Shell <tags> (user=a ) ()".to_owned();
        applied(
            "customfields: {team: a}\noutputfieldformat: '<timestamp> [<priority>] <output> <custom_fields> (<tags>) <x>'",
            &mut alert,
        );
        assert_eq!(alert.output, "12:00:01.000000001 [Debug] Shell <tags> (user=a )  team=a (example,test) <x>");
        let mut alert = Alert::test();
        applied("outputfieldformat: <output>", &mut alert);
        assert_eq!(alert.output, "This is a test from falcosidekick", "no head, no form");
    }

    #[test]
    fn size() {
        let long = "é".repeat(3000);
        let mut alert = Alert::test();
        alert.output = format!("cmd={long}!");
        alert.output_fields.insert("proc.cmdline".to_owned(), Json::from(long.as_str()));
        applied("", &mut alert);
        let cut = alert.field("proc.cmdline").expect("text").to_owned();
        assert_eq!(cut, format!("{}[...]", "é".repeat(253)), "cut between characters");
        assert_eq!(alert.output, format!("cmd={cut}!"));
    }
}
