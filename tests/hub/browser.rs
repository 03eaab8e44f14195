//! The page in a browser: Chromium without a window, driven over its DevTools protocol through a pair of pipes.
//!
//! Skipped with a line when Chromium is not installed. `FALCO_HUB_SCREENSHOTS=DIR` keeps pictures of every page.

use super::page::{Page, feed};
use super::port::free_port;
use super::process::{Hub, Process, wait_until};
use base64::Engine;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What a slow machine may take for one thing.
const WITHIN: Duration = Duration::from_secs(60);

struct Browser {
    child: Child,
    commands: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    next: RefCell<u64>,
    session: String,
    /// What the page complained of.
    complaints: RefCell<Vec<String>>,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Option<Browser> {
        let profile = tempfile::tempdir().expect("directory");
        let found = Command::new("chromium").arg("--version").output();
        if found.is_err() {
            println!("skipped: chromium is not installed (scripts/deps hub)");
            return None;
        }
        // Chromium reads commands from descriptor 3 and writes answers to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", "chromium"])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-pipe", "--window-size=1280,900", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let (send, messages) = channel();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for message in answers.split(0) {
                let Ok(message) = message else { return };
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        let commands = RefCell::new(child.stdin.take().expect("piped"));
        let mut browser = Browser {
            child,
            commands,
            messages,
            next: RefCell::new(1),
            session: String::new(),
            complaints: RefCell::default(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        browser.session =
            browser.call("Target.attachToTarget", attach)["sessionId"].as_str().expect("a session").into();
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    fn call(&self, method: &str, parameters: Value) -> Value {
        let id = self.next.replace_with(|next| *next + 1);
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.commands.borrow_mut().write_all(format!("{command}\0").as_bytes()).expect("the browser lives");
        loop {
            let message = self.messages.recv_timeout(WITHIN).unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let entry = &message["params"]["entry"];
            match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.borrow_mut().push(message.to_string()),
                // That a wrong password is refused is no complaint.
                Some("Log.entryAdded") if entry["level"] == "error" && entry["source"] != "network" => {
                    self.complaints.borrow_mut().push(entry.to_string());
                }
                _ => {}
            }
        }
    }

    fn eval(&self, script: &str) -> Value {
        let parameters =
            json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].clone()
    }

    fn text(&self, selector: &str) -> String {
        let script = format!("document.querySelector({})?.textContent ?? ''", json!(selector));
        self.eval(&script).as_str().unwrap_or_default().to_owned()
    }

    fn wait(&self, what: &str, condition: &str) {
        wait_until(&format!("{what} ({condition})"), WITHIN, || self.eval(&format!("!!({condition})")) == true);
    }

    fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.wait("something to click", &format!("document.querySelector({selector})"));
        self.eval(&format!("document.querySelector({selector}).click()"));
    }

    fn write(&self, selector: &str, text: &str) {
        let selector = json!(selector);
        self.eval(&format!("document.querySelector({selector}).select()"));
        self.eval(&format!("document.querySelector({selector}).focus()"));
        self.call("Input.insertText", json!({"text": text}));
    }

    fn press(&self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        let code = match key {
            "Enter" => 13,
            _ => 39,
        };
        for kind in ["keyDown", "keyUp"] {
            let down = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", down);
        }
    }

    fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    fn theme(&self, name: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": name}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Keeps a picture where somebody wants them.
    fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("FALCO_HUB_SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        let data = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().expect("data"));
        std::fs::write(Path::new(&directory).join(format!("{name}.png")), data.expect("base64")).expect("written");
    }

    /// What can be used has a name for who cannot see it, and nothing is wider than the window, once the page has settled.
    fn is_usable(&self, place: &str) {
        let mut fault = None;
        let within = Instant::now() + Duration::from_secs(10);
        while Instant::now() < within {
            fault = self.fault();
            if fault.is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{place}: {}", fault.expect("just found"));
    }

    fn fault(&self) -> Option<String> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        for node in tree["nodes"].as_array().expect("nodes") {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            let named = node["name"]["value"].as_str().is_some_and(|name| !name.trim().is_empty());
            let needed = ["button", "link", "textbox", "searchbox", "combobox", "checkbox", "table"].contains(&role);
            if !named && needed && node["ignored"] != true {
                return Some(format!("without a name: {node}"));
            }
        }
        let wide = self.eval("[document.documentElement.scrollWidth, innerWidth]");
        (wide[0].as_i64() > wide[1].as_i64()).then(|| format!("wider than the window: {wide}"))
    }

    fn no_complaints(&self) {
        let complaints = self.complaints.borrow();
        assert!(complaints.is_empty(), "the page complains: {complaints:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_in_a_browser() {
    let Some(browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().expect("directory");
    let nobody = format!("127.0.0.1:{}", free_port());
    let page = Page::started(json!({
        "file": {"path": directory.path().join("alerts").to_str()},
        "inputs": [{"kind": "redis", "name": "fleet", "address": nobody}],
    }));
    feed(&page, 30);

    // Login: first a wrong password, then the right one, with the keyboard alone.
    browser.theme("light");
    browser.size(1280, 900);
    browser.call("Page.navigate", json!({"url": format!("http://127.0.0.1:{}/", page.port)}));
    browser.wait("the form", "document.querySelector('form.login')");
    browser.is_usable("login");
    browser.picture("login");
    browser.write("[name=name]", "admin");
    browser.write("[name=password]", "not this one");
    browser.press("Enter");
    browser.wait("a refusal", "document.querySelector('form.login .error').textContent.includes('wrong')");
    browser.write("[name=password]", &page.password);
    browser.press("Enter");
    browser.wait("the dashboard", "document.querySelector('#all b')?.textContent === '30'");
    browser.is_usable("dashboard");
    browser.picture("dashboard");

    // The timeline by keyboard.
    browser.eval("document.querySelector('.slot').focus()");
    browser.press("ArrowRight");
    let focused = browser.eval(
        "[...document.querySelectorAll('svg.timeline')][0].querySelectorAll('.slot')[1] === document.activeElement",
    );
    assert_eq!(focused, true, "an arrow goes to the next interval");
    browser.eval("document.activeElement.blur()");

    // Filter: a click on a rule.
    browser.click("[data-group=rule][data-name='Loud, with a comma']");
    browser.wait("ten alerts", "document.querySelector('#all b')?.textContent === '10'");
    assert!(
        browser.eval("location.hash").as_str().is_some_and(|hash| hash.contains("rule=Loud")),
        "the view has an address"
    );

    // Live: what fits appears without asking.
    browser.click("#all");
    browser.wait("the list", "document.querySelectorAll('tbody tr').length === 10");
    browser.click("#live");
    browser.wait("it follows", "document.querySelector('#live[data-following]')");
    feed(&page, 3);
    browser.wait("a new one", "document.querySelectorAll('tbody tr').length === 11");
    assert!(
        browser.text("tbody tr").contains("alert 1 happened"),
        "the one of three that fits: {}",
        browser.text("tbody tr")
    );
    browser.is_usable("alerts");
    browser.picture("alerts");

    // Export: what is shown, as a file.
    browser.call("Page.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": directory.path()}));
    browser.click("#export-csv");
    let file = directory.path().join("falco-alerts.csv");
    wait_until("the export", WITHIN, || std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == 12));

    // One alert: the processes it came from.
    browser.click("tbody tr a");
    browser.wait("the alert", "document.querySelector('#tree')");
    let tree = browser.text("#tree");
    let order = ["sshd", "bash", "sh 101"].map(|name| tree.find(name));
    assert!(order.is_sorted() && order[0].is_some(), "ancestors first: {tree}");

    // Where alerts go, and where they come from.
    browser.click("nav a[href^='#/outputs']");
    browser.wait("an output that works", "document.querySelector('[data-output=file] .state.good')");
    browser.wait("an input that is down", "document.querySelector('[data-input=fleet] .state.bad')");
    assert!(browser.text("[data-input=fleet]").contains("refused"), "{}", browser.text("[data-input=fleet]"));
    browser.is_usable("outputs");
    browser.picture("outputs");
    browser.size(390, 844);
    browser.is_usable("outputs on a phone");
    browser.theme("dark");
    browser.picture("outputs-phone");
    browser.no_complaints();
}

/// How long a page takes from a click until it is drawn, in milliseconds.
fn drawn(browser: &Browser, address: &str) -> f64 {
    let script = format!(
        "new Promise(done => {{
            const start = performance.now();
            document.querySelector('h1').dataset.old = '';
            location.hash = {};
            const look = () => document.querySelector('h1:not([data-old])') && !document.querySelector('[aria-busy=true]')
                ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start))) : setTimeout(look, 5);
            look();
        }})",
        json!(address)
    );
    browser.eval(&script).as_f64().expect("a time")
}

/// How fast the page draws a store that `HUB_STORE_DIRECTORY=DIR scripts/bench/hub-store` filled: `FALCO_HUB_STORE=DIR`.
#[test]
fn a_big_store_is_drawn_within_a_second() {
    let Some(store) = std::env::var_os("FALCO_HUB_STORE") else { return };
    let Some(browser) = Browser::start() else { return };
    let port = free_port();
    let mut hub = Hub::new(&json!({"hub": {"uiport": port}}));
    let (config, directory) = (hub.directory.path().join("hub.yaml"), format!("hub.directory={}", store.display()));
    let options = [config.to_str().expect("UTF-8"), &directory, "hub.retention=0", "hub.maxsize=100GiB"];
    let arguments: Vec<&str> = ["-c", "-o", "-o", "-o"].into_iter().zip(options).flat_map(|(a, b)| [a, b]).collect();
    hub.process = Process::start(env!("CARGO_BIN_EXE_falco-hub"), &arguments, &hub.log());
    hub.wait_ready();
    let password = std::fs::read_to_string(Path::new(&store).join("initial-password")).expect("the password's file");
    browser.size(1280, 900);
    browser.call("Page.navigate", json!({"url": format!("http://127.0.0.1:{port}/")}));
    browser.wait("the form", "document.querySelector('form.login')");
    browser.write("[name=name]", "admin");
    browser.write("[name=password]", password.trim());
    browser.press("Enter");
    browser.wait("the dashboard", "document.querySelector('#all b')");
    let mut slow = Vec::new();
    for (name, address, bounded) in [
        ("dashboard, all time", "#/dashboard?since=all", true),
        ("dashboard, a month", "#/dashboard?since=1M", true),
        ("dashboard, a week", "#/dashboard?since=1w", true),
        ("dashboard, a day", "#/dashboard", true),
        ("dashboard, a rule", "#/dashboard?since=all&rule=Rule+number+7", true),
        ("dashboard, a host and a tag", "#/dashboard?since=all&hostname=host-9&tags=mitre_1", true),
        ("dashboard, a rare word", "#/dashboard?since=all&filter=needle", true),
        ("dashboard, a word in all", "#/dashboard?since=all&filter=shell", false),
        ("dashboard, a field that all have", "#/dashboard?since=all&field=proc.name%3Dsh", false),
        ("alerts, all time", "#/alerts?since=all", true),
        ("alerts, a day", "#/alerts", true),
        ("alerts, a word in all", "#/alerts?since=all&filter=shell", false),
        ("alerts, a field that all have", "#/alerts?since=all&field=proc.name%3Dsh", false),
        ("rules, all time", "#/rules?since=all", true),
    ] {
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                drawn(&browser, "#/outputs");
                drawn(&browser, address)
            })
            .collect();
        let first = times[0];
        times.sort_by(f64::total_cmp);
        println!("{name:34} {:6.0} ms   first {first:6.0} ms   most {:6.0} ms", times[2], times[4]);
        browser.picture(&name.replace([',', ' '], "-"));
        if bounded && times[2] > 1000.0 {
            slow.push(name);
        }
    }
    assert!(slow.is_empty(), "more than a second: {slow:?}");
    browser.no_complaints();
}
