//! The condition language, statement by statement: what is accepted, what it means for one event, what is said when it is not.
//!
//! The larger tables are the conformance data's; this one needs nothing and names each trap.

use bumpalo::Bump;
use falco_sensor::filter::{Compiler, EvalContext, Matching, RuleIndex, SyscallScheme, parse};
use falco_sensor::kit::described::{Described, Text, field, value};

/// An openat of /etc/shadow by a cat that a bash of sshd started.
fn event() -> Described {
    let mut event = Described::new("openat").expect("an event");
    let one = |text: &str| Text::One(text.to_owned());
    let many = |texts: &[&str]| Text::Many(texts.iter().map(|t| (*t).to_owned()).collect());
    for (name, text) in [
        ("proc.name", one("cat")),
        ("proc.exe", one("")),
        ("proc.exepath", one("/usr/bin/cat")),
        ("proc.cmdline", one("cat -n /etc/Shadow")),
        ("proc.pid", one("7")),
        ("proc.tty", one("34816")),
        ("proc.aname", many(&["bash", "sshd", "systemd"])),
        ("proc.apid", many(&["6", "5", "1"])),
        ("proc.aenv", many(&["HOME=/", "PATH=/bin"])),
        ("user.name", one("<NA>")),
        ("fd.num", one("3")),
        ("fd.name", one("/etc/shadow")),
        ("fd.types", many(&["file", "directory"])),
        ("fd.cip", one("10.0.0.1")),
        ("fd.sip", one("192.168.0.9")),
        ("fd.cport", one("40000")),
        ("fd.sport", one("22")),
        ("evt.rawarg.flags", one("1")),
        ("evt.is_open_read", one("true")),
        ("evt.buffer", one("hex:41420a")),
        ("proc.env[B64]", one("aGk=")),
    ] {
        let field = field(name).expect(name);
        event.give(&field, value(&field, &text).expect(name));
    }
    event.complete();
    event
}

/// Does it hold for the event? An error's message when it cannot be used.
fn outcome(condition: &str) -> Result<bool, String> {
    let tree = parse(condition).map_err(|e| e.message)?;
    let mut compiler = Compiler::new(&SyscallScheme, Matching::First);
    compiler.add(RuleIndex(0), &tree).map_err(|e| e.message)?;
    let (program, event, arena) = (compiler.finish(), event(), Bump::new());
    let mut holds = false;
    program.evaluate(&event, &mut EvalContext::new(), &arena, |_| holds = true);
    Ok(holds)
}

/// Rows of a condition and whether it holds.
fn hold(rows: &[(&str, bool)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(condition, expected)| match outcome(condition) {
            Ok(got) if got == *expected => None,
            got => Some(format!("{condition}: expected {expected}, got {got:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows of a condition and a part of the message that refuses it.
fn refused(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(condition, part)| match outcome(condition) {
            Err(message) if message.contains(part) => None,
            got => Some(format!("{condition}: expected an error with {part:?}, got {got:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_and_blanks() {
    hold(&[
        ("proc.name=cat", true),
        ("proc.name==cat", true),
        ("\t\n proc.name \r\n= cat ", true),
        ("fd.num in(1,3)", true),
        ("fd.name pmatch(/etc)", true),
        ("not(proc.name=x)", true),
        ("not not proc.name=cat", true),
        ("proc.name=x or(proc.name=cat)and(fd.num=3)", true),
        // `and` binds tighter than `or`.
        ("proc.name=cat or proc.name=x and fd.num=9", true),
        ("(proc.name=cat or proc.name=x) and fd.num=9", false),
        // A word that needs a list is a value where none follows.
        ("proc.name = anyof", false),
        ("proc.name = anyof (x, cat)", true),
        // A name behind a list operator is a value.
        ("proc.name in cat", true),
    ]);
    refused(&[
        ("", "filter condition is empty"),
        ("proc.name", "expecting an operator"),
        ("proc.name containscat", "expecting an operator"),
        ("proc.name = ", "expected a string value"),
        ("proc.name = cat and", "expected blank or '(' after 'and'"),
        ("proc.name = cat and ", "expected an expression after 'and'"),
        ("proc.name = cat orfd.num = 3", "expected blank or '(' after 'or'"),
        ("proc.name = cat fd.num = 3", "expecting 'or', 'and'"),
        ("(proc.name = cat", "expected a ')' token"),
        ("proc.name in (cat", "expected a ')' token closing the list"),
        ("proc.name CONTAINS cat", "expecting an operator"),
        ("some_macro", "unexpected identifier 'some_macro'"),
        ("notproc", "unexpected identifier 'notproc'"),
        ("fd.num > '3'", "expected a number value"),
        ("proc.name = \"cat", "expected a closing \" of the string that starts here"),
    ]);
}

#[test]
fn literals_and_escapes() {
    hold(&[
        ("proc.name = 'cat'", true),
        ("proc.name = \"\\x63at\"", true),
        ("proc.cmdline contains \"-n \"", true),
        ("fd.name = /etc/shadow", true),
        ("fd.name glob /etc/[a-s]*", true),
        ("proc.exe = \"\"", true),
        ("proc.exe in (\"\", x)", true),
    ]);
    refused(&[
        ("proc.name = \"a\\q\"", "escape"),
        ("proc.name = \"a\\x4\"", "escape"),
        ("proc.name = \"a\\'\"", "escape"),
        ("proc.name = \"a\\x00\"", "NUL"),
        ("fd.num = 0x3", "'0x3' is not a valid number"),
        ("fd.num = 3.0", "'3.0' is not a valid number"),
        ("proc.duration > 1s", "unexpected token"),
        ("evt.is_open_read = yes", "write true or false"),
        ("evt.is_open_read = 1", "write true or false"),
        ("fd.sport = nosuchservice", "neither a port number nor the name of a service"),
        ("fd.sip = 10.0.0.0/8", "not a valid IP address"),
        ("fd.sip = ::ffff:10.0.0.1", "not a valid IP address"),
        ("evt.rawarg.data contains x", "is a buffer"),
        ("fd.snet = 10.0.0.1", "not a valid IP network"),
        ("fd.snet = 10.0.0.0/33", "not a valid IP network"),
        ("evt.buffer bcontains zz", "hex"),
        ("evt.type = opn", "unknown event type opn"),
        ("evt.type in (open, opn)", "unknown event type opn"),
    ]);
}

#[test]
fn what_is_missing_is_false_for_every_operator() {
    hold(&[
        ("proc.sname = x", false),
        ("proc.sname != x", false),
        ("proc.sname exists", false),
        ("not proc.sname = x", true),
        ("proc.sname in (x)", false),
        ("proc.sname = val(proc.name)", false),
        ("proc.name != val(proc.sname)", false),
        // Empty and unknown are values.
        ("proc.exe exists", true),
        ("user.name = <NA>", true),
        ("user.name exists", true),
        ("user.name != root", true),
    ]);
}

#[test]
fn operators_on_texts() {
    hold(&[
        ("proc.cmdline contains /etc", true),
        ("proc.cmdline contains SHADOW", false),
        ("proc.cmdline icontains SHADOW", true),
        ("fd.name startswith /etc", true),
        ("fd.name endswith shadow", true),
        ("fd.name glob /*", true),
        ("fd.name glob /?tc/shado", false),
        ("fd.name iglob /ETC/*", true),
        // Regular expressions are anchored at both ends.
        ("fd.name regex shadow", false),
        ("fd.name regex .*shadow", true),
        ("fd.name regex '/etc/(passwd|shadow)'", true),
        // Prefixes of paths end at components.
        ("fd.name pmatch (/etc)", true),
        ("fd.name pmatch (/et)", false),
        ("fd.name pmatch (/e*c)", true),
        ("fd.name pmatch (/)", true),
        ("fd.name pmatch (/etc/shadow/x)", false),
        ("fd.name pmatch (/usr, /etc/)", true),
        ("proc.name > 1", true),
        ("proc.name = oneof (cat, cat)", false),
        ("proc.name startswith allof (c, ca)", true),
        ("proc.name startswith allof (c, x)", false),
        ("proc.name != allof (x, y)", true),
        ("proc.name = anyof ()", false),
        ("proc.name != allof ()", false),
        ("evt.buffer bcontains 4142", true),
        ("evt.buffer bstartswith 42", false),
        ("evt.buffer contains AB", true),
    ]);
    refused(&[
        ("proc.name bcontains 61", "operator 'bcontains' is not compatible with type CHARBUF"),
        ("fd.num contains 3", "operator 'contains' is not compatible with type INT64"),
        ("evt.is_open_read > 0", "operator '>' is not compatible with type BOOL"),
        ("fd.sip > 3", "is not compatible with type IPADDR"),
        ("evt.buffer glob x", "is not compatible with type BYTEBUF"),
        ("fd.name regex '('", "invalid regular expression"),
        ("proc.nam = x", "nonexistent field proc.nam"),
        ("proc.name[1] = x", "does not accept one"),
        ("evt.rawarg = 1", "requires an argument"),
    ]);
}

#[test]
fn lists_ancestors_and_both_ends() {
    hold(&[
        // All are in the set; one is.
        ("fd.types in (file, directory, pipe)", true),
        ("fd.types in (file)", false),
        ("fd.types intersects (file, x)", true),
        ("fd.types intersects (x)", false),
        // Any ancestor, the process itself not.
        ("proc.aname = sshd", true),
        ("proc.aname = cat", false),
        ("proc.aname != bash", true),
        ("not proc.aname = bash", false),
        ("proc.aname[2] = sshd", true),
        ("proc.aname[9] exists", false),
        ("proc.pname = bash", true),
        // An index of proc.aenv does not count in comparisons.
        ("proc.aenv[7] contains PATH", true),
        ("proc.apid = 5", true),
        // Either end; both must differ.
        ("fd.ip = 10.0.0.1", true),
        ("fd.ip != 10.0.0.1", false),
        ("fd.ip != 10.0.0.2", true),
        ("fd.port = 22", true),
        ("fd.port = ssh", true),
        ("fd.port != 22", false),
        ("fd.port > 30000", true),
        ("fd.ip = ::1", false),
        ("fd.ip != ::1", true),
        ("fd.snet in (10.0.0.0/8, 192.168.0.0/16)", true),
        // fd.net looks at the first network of a list only.
        ("fd.net in (192.168.0.0/16, 172.16.0.0/12)", true),
        ("fd.net in (172.16.0.0/12, 192.168.0.0/16)", false),
    ]);
    refused(&[
        ("fd.types = file", "operator '=' is not compatible with type list of CHARBUF"),
        ("fd.types contains file", "is not compatible with type list of CHARBUF"),
    ]);
}

#[test]
fn numbers() {
    hold(&[
        ("fd.num >= 3", true),
        ("fd.num < 3", false),
        ("fd.num = +3", true),
        ("fd.num in (1, 3)", true),
        ("proc.tty != 0", true),
        // Unsigned types wrap.
        ("proc.tty < -1", true),
        // 65536 + 22
        ("fd.sport = 65558", true),
    ]);
}

#[test]
fn transformers_and_fields_with_fields() {
    hold(&[
        ("toupper(proc.name) = CAT", true),
        ("tolower(proc.cmdline) contains shadow", true),
        ("basename(fd.name) = shadow", true),
        ("toupper(basename(fd.name)) = SHADOW", true),
        ("len(fd.types) = 2", true),
        ("len(fd.name) > 10", true),
        ("b64(proc.env[B64]) = hi", true),
        // No base64: no value.
        ("b64(proc.cmdline) exists", false),
        ("join(\"-\", (proc.name, \"x\")) = cat-x", true),
        ("concat(proc.name, proc.pname) = catbash", true),
        ("basename(proc.exepath) = val(proc.name)", true),
        ("proc.name = basename(proc.exepath)", true),
        ("fd.num < val(proc.pid)", true),
        // A bare name on the right is a text.
        ("proc.name = proc.name", false),
        ("proc.name in val(proc.name)", true),
    ]);
    refused(&[
        ("tolower(fd.num) = 3", "tolower"),
        ("len(fd.num) = 3", "len"),
        ("proc.name = val(fd.num)", "both sides must be the same"),
        ("fd.name pmatch val(proc.exepath)", "does not support a field on its right side"),
        ("fd.name regex val(proc.exepath)", "does not support a field on its right side"),
        ("evt.type = val(proc.name)", "cannot be compared with a field"),
        ("toupper(proc.aname) = x", "does not support transformers"),
        ("fd.snet = val(fd.rnet)", "field"),
        ("proc.name in val(fd.types)", "cannot be on the right side"),
        ("nosuch(proc.name) = x", "expect"),
    ]);
}

#[test]
fn event_types() {
    hold(&[
        ("evt.type = openat", true),
        ("evt.type != open", true),
        ("evt.type in (open, openat)", true),
        ("evt.type startswith open", true),
        ("evt.type exists", true),
        ("not evt.type = getpid", true),
        ("evt.num = 0", false),
    ]);
}

#[test]
fn an_error_points_at_the_character() {
    for (condition, shown) in [
        ("proc.name ~ cat", "1:11: "),
        ("proc.name = cat and\n  fd.nam = x", "2:3: "),
        ("proc.name in (a,\n\"b)", "2:1: "),
    ] {
        let error = match parse(condition) {
            Err(error) => error,
            Ok(tree) => falco_sensor::filter::lower::Lower::new(&SyscallScheme).condition(&tree).expect_err(condition),
        };
        let text = error.with_caret(condition);
        assert!(text.starts_with(shown), "{text}");
        let (line, caret) = text.rsplit_once('\n').expect("a caret");
        let line = line.rsplit('\n').next().expect("a line");
        assert!(condition.contains(line) && caret.trim() == "^", "{text}");
    }
}
