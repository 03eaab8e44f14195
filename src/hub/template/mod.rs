//! The part of Go's text/template that configurations of alert forwarders use.
//!
//! Understood: text and `{{ }}` with trim markers and comments; fields (`.Rule`, `.OutputFields.x`, `$`), variables,
//! texts, numbers, `true`, `false`, `nil`; pipelines and parentheses; `if`, `else if`, `else`, `range` (with `else`),
//! `with`, `end`; the functions `and or not eq ne lt le gt ge index len print printf println html js urlquery` and
//! `slice`. Not understood, and said so when the template is read: `define`, `template`, `block`, `break`, `continue`,
//! methods of Go values. A key that is absent prints `<no value>`, as there.
//!
//! Invariant: evaluating ends, and its output is bounded; templates have no loops but `range` over an alert.

mod eval;
mod parse;

use super::json::Json;

/// Why a template cannot be read or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { nodes: parse::parse(text)? })
    }

    /// The text for `data`, which `.` and `$` stand for.
    pub fn render(&self, data: &Json) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Json {
        let text = r#"{"Rule":"a <b>","Priority":"Warning","Tags":["x","y"],
            "OutputFields":{"k8s.ns.name":"prod","n":12,"f":1.50,"t":true,"empty":"","l":[1,2]}}"#;
        Json::from_raw(serde_json::from_str(text).expect("JSON")).expect("JSON")
    }

    #[test]
    fn rendered() {
        for (template, expected) in [
            ("plain } text", "plain } text"),
            ("{{ .Rule }}: {{.Priority}}", "a <b>: Warning"),
            (r#"{{ index .OutputFields "k8s.ns.name" }}"#, "prod"),
            (r#"{{ index .OutputFields "nosuch" }}|{{ .OutputFields.nosuch }}"#, "<no value>|<no value>"),
            (r#"{{ or (index .OutputFields "empty") "null" }}"#, "null"),
            (r#"{{ and .Rule .Priority }}"#, "Warning"),
            ("a  {{- /* c */ -}}  b", "ab"),
            ("a {{- 1 }} {{ 2 -}} b", "a1 2b"),
            (r#"{{ if eq .Priority "Debug" "Warning" }}yes{{ else }}no{{ end }}"#, "yes"),
            (r#"{{ if not .Rule }}a{{ else if gt .OutputFields.n 11 }}b{{ else }}c{{ end }}"#, "b"),
            ("{{ range $i, $t := .Tags }}{{ $i }}={{ $t }};{{ end }}", "0=x;1=y;"),
            ("{{ range .Nothing }}x{{ else }}none{{ end }}", "none"),
            ("{{ range $k, $v := .OutputFields }}{{ $k }} {{ end }}", "empty f k8s.ns.name l n t "),
            ("{{ with .OutputFields }}{{ .n }}{{ $.Rule }}{{ end }}", "12a <b>"),
            (r#"{{ .Rule | printf "%s-%q" "x" | html }}"#, "x-&#34;a &lt;b&gt;&#34;"),
            (r#"{{ printf "%d%% %v %5.1f" .OutputFields.n .Tags 2.25 }}"#, "12% [x y]   2.2"),
            ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
            ("{{ len .Tags }}{{ len .Rule }}", "25"),
            ("{{ index .Tags 1 }}{{ slice .Rule 0 1 }}", "ya"),
            ("{{ .OutputFields.f }} {{ .OutputFields.t }} {{ .OutputFields.l }}", "1.50 true [1 2]"),
            ("{{ print 1 2 }}{{ println `a` }}", "1 2a\n"),
            (r#"{{ urlquery "a b&" }} {{ js "'<" }}"#, r"a+b%26 \'\u003C"),
        ] {
            let found = Template::parse(template).and_then(|t| t.render(&data()));
            assert_eq!(found.as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn refused() {
        for (template, expected) in [
            ("{{ .Rule", "'{{' is not closed"),
            ("{{ nosuch }}", "there is no function 'nosuch'"),
            ("{{ if .Rule }}", "'if' has no 'end'"),
            ("{{ end }}", "'end' without"),
            (r#"{{ template "x" }}"#, "'template' is not supported"),
            ("{{ $x }}", "there is no variable '$x'"),
            ("{{ \"a }}", "a text is not closed"),
            ("{{ }}", "an empty action"),
            ("{{ (1 }}", "')' is missing"),
        ] {
            let error = Template::parse(template).expect_err(template).to_string();
            assert!(error.contains(expected), "{template}: {error}");
        }
        for (template, expected) in [
            ("{{ .Rule.x }}", "'x' of a text"),
            ("{{ index .Tags 7 }}", "out of range"),
            ("{{ lt .Rule 1 }}", "cannot be compared"),
            ("{{ printf \"%.99999999f\" 1.0 }}", "%"),
        ] {
            let error = Template::parse(template).and_then(|t| t.render(&data())).expect_err(template).to_string();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
