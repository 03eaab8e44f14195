//! The table of the hub's own configuration keys, and what a row of such a table is.
//!
//! From this table and those of the outputs come the reader, the environment variables, `falco-hub config keys` and
//! docs/hub-configuration.md. A key that is in no table does not exist.

use crate::hub::postgresql::{SSL_MODE_MEANING, SSL_MODES};

/// What a key's value is, and how it is written in an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    /// A text that is never shown.
    Secret,
    Bool,
    Int,
    /// A priority's name, or nothing.
    Priority,
    /// `30s`, `5m`, `36h`, `7d`, or a bare number in this unit.
    Duration(Unit),
    /// A number of bytes: `512`, `64MiB`, `2GiB`.
    Size,
    Choice(&'static [&'static str]),
    /// In the environment: separated by commas.
    List,
    /// In the environment: `key:value` separated by commas. A value may hold colons.
    Map,
    /// Patterns that choose alerts; file only.
    Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Type,
    pub default: &'static str,
    pub meaning: &'static str,
}

impl Key {
    pub const fn new(name: &'static str, kind: Type, default: &'static str, meaning: &'static str) -> Key {
        Key { name, kind, default, meaning }
    }

    pub const fn text(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
        Key::new(name, Type::Text, default, meaning)
    }

    pub const fn secret(name: &'static str, meaning: &'static str) -> Key {
        Key::new(name, Type::Secret, "", meaning)
    }

    pub const fn flag(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
        Key::new(name, Type::Bool, default, meaning)
    }

    pub const fn int(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
        Key::new(name, Type::Int, default, meaning)
    }
}

use Type::{Duration, List, Map, Size};

/// Falcosidekick's keys that belong to no output, and the hub's.
pub const CORE: &[Key] = &[
    Key::text("listenaddress", "", "address to listen on; all when empty"),
    Key::int("listenport", "2801", "port to listen on"),
    Key::flag("debug", "false", "log what is sent and received"),
    Key::new("customfields", Map, "", "fields added to every alert, as texts; in the environment %NAME is a variable"),
    Key::new("templatedfields", Map, "", "fields added to every alert: templates over its fields"),
    Key::new("customtags", List, "", "tags added to every alert"),
    Key::text("bracketreplacer", "", "in names of fields ] is removed and [ becomes this"),
    Key::text(
        "outputfieldformat",
        "",
        "new text of 'output': <timestamp> <priority> <output> <custom_fields> <templated_fields> <tags>",
    ),
    Key::text("mutualtlsfilespath", "/etc/certs", "directory of client.crt, client.key and ca.crt for mutual TLS"),
    Key::text("mutualtlsclient.certfile", "", "client certificate for mutual TLS"),
    Key::text("mutualtlsclient.keyfile", "", "its key"),
    Key::text("mutualtlsclient.cacertfile", "", "authorities that servers must have with mutual TLS"),
    Key::text("tlsclient.cacertfile", "", "authorities accepted besides the system's"),
    Key::flag("tlsserver.deploy", "false", "speak TLS on the port"),
    Key::text("tlsserver.certfile", "/etc/certs/server/server.crt", "certificate chain of the server"),
    Key::text("tlsserver.keyfile", "/etc/certs/server/server.key", "its key"),
    Key::flag("tlsserver.mutualtls", "false", "require a client certificate"),
    Key::text("tlsserver.cacertfile", "/etc/certs/server/ca.crt", "authorities of client certificates"),
    Key::int("tlsserver.notlsport", "2810", "port for the paths without TLS"),
    Key::new("tlsserver.notlspaths", List, "", "paths served without TLS on that port, and only there"),
    Key::new("prometheus.extralabels", List, "", "fields that become labels of falco_events_total"),
    // Ours.
    Key::text("hub.directory", "/var/lib/falco-hub", "where alerts are kept; STATE_DIRECTORY of systemd if unset"),
    Key::text(
        "hub.socket",
        "",
        "path of a unix socket that takes alerts as well; one that systemd has for the hub does so in any case",
    ),
    Key::secret("hub.token", "token that senders must give (Authorization: Bearer)"),
    Key::text("hub.uiaddress", "", "address of the page; that of listenaddress when empty"),
    Key::int("hub.uiport", "2802", "port of the page and its interface; 0: none"),
    Key::new(
        "hub.uianonymous",
        Type::Choice(&["nobody", "viewer", "operator"]),
        "nobody",
        "what those may who do not log in",
    ),
    Key::new("hub.maxbody", Size, "4MiB", "largest body that is taken"),
    Key::new("hub.maxsize", Size, "2GiB", "size of the database at which the oldest delivered alerts go"),
    Key::new("hub.retention", Duration(Unit::Seconds), "30d", "age at which delivered alerts go; 0 keeps them"),
    Key::new(
        "hub.deadletterafter",
        Duration(Unit::Seconds),
        "7d",
        "age at which an alert that an output did not get goes to its dead letters",
    ),
    Key::int("hub.refusals", "8", "times an alert is offered to an output that refuses it, before it is a dead letter"),
    Key::new("hub.retrymin", Duration(Unit::Milliseconds), "1s", "first pause before another attempt"),
    Key::new("hub.retrymax", Duration(Unit::Milliseconds), "5m", "longest pause before another attempt"),
    Key::new("hub.timeout", Duration(Unit::Milliseconds), "30s", "time an attempt may take"),
    Key::flag("hub.grpc.enabled", "false", "give alerts to gRPC clients, as Falco did (falco.outputs)"),
    Key::text(
        "hub.grpc.bind_address",
        "unix:///run/falco-hub/grpc.sock",
        "unix://PATH, or ADDRESS:PORT, where TLS is spoken and clients must have certificates",
    ),
    Key::int("hub.grpc.threadiness", "0", "taken for a Falco file's sake: the hub's threads do it"),
    Key::text("hub.grpc.private_key", "", "key of the server; tlsserver.keyfile when empty"),
    Key::text("hub.grpc.cert_chain", "", "its certificate chain; tlsserver.certfile when empty"),
    Key::text("hub.grpc.root_certs", "", "authorities of client certificates; tlsserver.cacertfile when empty"),
    Key::text("hub.name", "", "what this hub is called in a store that several share; the host's name when empty"),
    Key::text(
        "hub.postgresql.host",
        "",
        "server of a store that several hubs share; a path is the directory of its unix socket; without it the page \
         shows what this hub received",
    ),
    Key::int("hub.postgresql.port", "5432", "its port"),
    Key::text("hub.postgresql.user", "falco_hub", "user"),
    Key::secret("hub.postgresql.password", "its password"),
    Key::text("hub.postgresql.database", "falco_hub", "name of the database"),
    Key::new("hub.postgresql.sslmode", SSL_MODES, "verify-full", SSL_MODE_MEANING),
    Key::flag("hub.postgresql.mutualtls", "false", "present the client certificate of mutualtlsclient"),
    Key::new("hub.postgresql.maxsize", Size, "20GiB", "size of the alerts in the shared store at which the oldest go"),
    Key::new("hub.postgresql.retention", Duration(Unit::Seconds), "30d", "age at which they go; 0 keeps them"),
];

/// What every instance of an output has.
pub const INSTANCE: &[Key] = &[
    Key::new("minimumpriority", Type::Priority, "", "alerts of lower priority are not sent; everything when empty"),
    Key::new("match", Type::Match, "", "only alerts that fit: rules, priorities, sources, tags, hostnames, fields"),
    Key::new("exclude", Type::Match, "", "no alerts that fit"),
];

const MUTUAL_TLS: Key = Key::flag("mutualtls", "false", "present the client certificate of mutualtlsclient");
const CHECK_CERT: Key = Key::flag("checkcert", "true", "verify the server's certificate");

/// What a client that may speak TLS has.
pub const TLS: &[Key] = &[MUTUAL_TLS, CHECK_CERT];

/// What every output over HTTP has.
pub const HTTP: &[Key] =
    &[MUTUAL_TLS, CHECK_CERT, Key::int("maxconcurrentrequests", "1", "requests at a time; 0 is the most there may be")];

/// Name of the environment variable of a key.
pub fn variable(path: &str) -> String {
    path.to_ascii_uppercase().replace('.', "_")
}
