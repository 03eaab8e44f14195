//! A PostgreSQL server on loopback, where one is installed (`scripts/deps hub`).

use super::port::free_port;
use super::process::{Process, wait_until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub const PASSWORD: &str = "p'w";

/// A server with a directory of its own, which ends with the test.
pub struct Server {
    directory: tempfile::TempDir,
    pub port: u16,
    programs: PathBuf,
    process: Option<Process>,
    /// Further arguments.
    arguments: Vec<String>,
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).find(|path| path.join("initdb").exists())
}

/// It does not run as root.
fn as_user() -> Vec<String> {
    match nix::unistd::geteuid().is_root() {
        true => ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned).to_vec(),
        false => vec!["env".to_owned()],
    }
}

impl Server {
    /// A server that runs, with its user `postgres`. `None`, and a line that says so, when it is not installed.
    pub fn started() -> Option<Server> {
        let Some(programs) = programs() else {
            println!("skipped: postgresql is not installed (scripts/deps hub)");
            return None;
        };
        let directory = tempfile::tempdir().expect("directory");
        let port = free_port();
        let mut server = Server { directory, port, programs, process: None, arguments: Vec::new() };
        server.own(server.directory.path());
        std::fs::write(server.path("password"), format!("{PASSWORD}\n")).expect("written");
        let prefix = as_user();
        let made = Command::new(&prefix[0])
            .args(&prefix[1..])
            .arg(server.programs.join("initdb"))
            .arg("-D")
            .arg(server.path("data"))
            .args(["-U", "postgres", "-A", "scram-sha-256", "-N", "-E", "UTF8"])
            .arg(format!("--pwfile={}", server.path("password").display()))
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.start();
        Some(server)
    }

    /// The same, which speaks TLS with a certificate that is its own authority. Returns the latter's file.
    pub fn started_with_tls() -> Option<(Server, String)> {
        let mut server = Self::started()?;
        let (certificate, key) = super::brokers::certificate(server.directory.path());
        server.own(Path::new(&key));
        server.stop();
        for setting in ["ssl=on", &format!("ssl_cert_file={certificate}"), &format!("ssl_key_file={key}")] {
            server.arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        server.start();
        Some((server, certificate))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives a file to the user the server runs as.
    fn own(&self, path: &Path) {
        if nix::unistd::geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres").arg(path).status().expect("chown").success());
        }
    }

    pub fn start(&mut self) {
        let prefix = as_user();
        let text = |path: PathBuf| path.display().to_string();
        let (program, data, sockets) =
            (text(self.programs.join("postgres")), text(self.path("data")), text(self.path("")));
        let port = self.port.to_string();
        let own = [&program, "-D", &data, "-p", &port, "-h", "127.0.0.1", "-k", &sockets, "-F"];
        let arguments: Vec<&str> = prefix[1..]
            .iter()
            .map(String::as_str)
            .chain(own)
            .chain(self.arguments.iter().map(String::as_str))
            .collect();
        self.process = Process::start(&prefix[0], &arguments, &self.path("log"));
        wait_until("postgres", Duration::from_secs(60), || self.psql("postgres", "select 1") == "1");
    }

    /// Ends it at once: no connection ends by itself, nothing is written any more.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(nix::sys::signal::Signal::SIGQUIT);
        process.0.wait().expect("ended");
    }

    /// What a statement answers, as `psql -At` prints it.
    pub fn psql(&self, database: &str, text: &str) -> String {
        let out = Command::new(self.programs.join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                "-d",
                database,
                "-At",
                "-c",
                text,
            ])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("psql");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// A new database, and the section `hub.postgresql` for it.
    pub fn database(&self, name: &str) -> Value {
        self.psql("postgres", &format!("create database {name} encoding 'UTF8' template template0"));
        json!({
            "host": "127.0.0.1", "port": self.port, "user": "postgres", "password": PASSWORD, "database": name,
            "sslmode": "disable",
        })
    }
}
