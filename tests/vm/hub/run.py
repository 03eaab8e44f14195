#!/usr/bin/env python3
"""From a system call to the page: the sensor's alert is kept by the hub, comes to real receivers, and is shown.

usage, in a guest: tests/vm/hub/run.py

A program reads /etc/shadow. The sensor, with our default rules, posts the alert to falco-hub over loopback; Redis, rsyslog (over TCP)
and a web server must get it, with the same uuid, and the interface of the hub's page must show it and what became of it. Then the
hub is killed and started again: what it had acknowledged is still there, and the next alert arrives as before. (A browser is not
part of it: Chromium crashed in an emulated guest.)
$FALCO_HUB_PROGRAM names another hub.
"""
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import guest  # noqa: E402
from report import Report, Skip, wants, wants_equal, wants_part  # noqa: E402
from sensor import Sensor  # noqa: E402

HUB = os.environ.get("FALCO_HUB_PROGRAM", f"{guest.REPOSITORY}/target/release/falco-hub")
WORK = f"{guest.WORK}/hub"
# Nobody else is in the guest.
ALERTS, PAGE, REDIS, SYSLOG, WEB = 2801, 2802, 6379, 5514, 8080
RULE = "Read sensitive file untrusted"
# Seconds. The guest is emulated.
SOON = 120

CONFIG = f"""\
listenaddress: 127.0.0.1
listenport: {ALERTS}
redis: {{address: "127.0.0.1:{REDIS}"}}
syslog: {{host: 127.0.0.1, port: {SYSLOG}, protocol: tcp}}
webhook: {{address: "http://127.0.0.1:{WEB}/hook"}}
hub: {{directory: {WORK}/data, uiport: {PAGE}, uiaddress: 127.0.0.1, uianonymous: viewer, retrymin: 100ms, retrymax: 1s}}
"""
RSYSLOG = f"""\
module(load="imtcp")
$MaxMessageSize 64k
template(name="l" type="string" string="%msg%\\n")
action(type="omfile" file="{WORK}/syslog" template="l")
input(type="imtcp" port="{SYSLOG}" address="127.0.0.1")
"""


def start(*command, **more):
    """A process whose output goes to a file of its name; it ends with the guest."""
    with open(f"{WORK}/{os.path.basename(command[0])}.log", "ab") as log:
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)


def messages(program):
    with open(f"{WORK}/{os.path.basename(program)}.log", encoding="utf-8", errors="replace") as file:
        return file.read()


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def ask(path):
    """The page's interface, as anybody may."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PAGE}{path}", timeout=60) as answer:
        return answer.read().decode()


class Web(http.server.BaseHTTPRequestHandler):
    got = []

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Web.got.append((self.path, self.headers["Idempotency-Key"], json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def hub():
    process = start(HUB, "-c", f"{WORK}/hub.yaml")
    guest.wait_for("the hub", lambda: listens(ALERTS) and listens(PAGE) or process.poll() is not None, SOON)
    wants(process.poll() is None, f"the hub ended:\n{messages(HUB)}")
    return process


def receivers():
    for name in ("redis-server", "rsyslogd"):
        if not shutil.which(name):
            raise Skip(f"{name} is not installed (scripts/deps hub)")
    with open(f"{WORK}/rsyslog.conf", "w", encoding="utf-8") as file:
        file.write(RSYSLOG)
    start("redis-server", "--port", str(REDIS), "--bind", "127.0.0.1", "--dir", WORK)
    start("rsyslogd", "-n", "-f", f"{WORK}/rsyslog.conf", "-i", f"{WORK}/rsyslog.pid")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", WEB), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in (REDIS, SYSLOG, WEB):
        guest.wait_for(f"who listens on {port}", lambda port=port: listens(port), SOON)


def read_shadow(name):
    """A program of that name reads /etc/shadow: a system call that our rules report. Returns its pid."""
    program = f"{WORK}/{name}"
    shutil.copy("/bin/cat", program)
    with subprocess.Popen([program, "/etc/shadow"], stdout=subprocess.DEVNULL) as process:
        wants_equal("its exit status", process.wait(SOON), 0)
        return process.pid


def found(name):
    """The alert about the program, as the hub's interface shows it."""
    answer = json.loads(ask(f"/api/v1/events/search?filter={name}&rule={RULE.replace(' ', '%20')}"))
    return answer["results"]


def in_redis():
    with socket.create_connection(("127.0.0.1", REDIS), timeout=60) as one:
        one.sendall(b"LRANGE falco 0 -1\r\nQUIT\r\n")
        text = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    return [json.loads(line) for line in text.split("\r\n") if line.startswith("{")]


def in_syslog():
    try:
        with open(f"{WORK}/syslog", encoding="utf-8") as file:
            lines = [line[line.index("{"):] for line in file if "{" in line and line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def arrives(name):
    """The alert is in the hub, at each receiver under the same uuid, and its page says that it was delivered."""
    started = time.monotonic()
    read_shadow(name)
    guest.wait_for("the alert in the hub", lambda: found(name), SOON, 0.2)
    kept = time.monotonic() - started
    event = found(name)[0]
    uuid = event["uuid"]
    places = {"Redis": in_redis, "syslog": in_syslog, "the web server": lambda: [alert for _, _, alert in Web.got]}
    for place, alerts in places.items():
        guest.wait_for(f"the alert at {place}", lambda alerts=alerts: any(a["uuid"] == uuid for a in alerts()), SOON, 0.2)
        same = next(alert for alert in alerts() if alert["uuid"] == uuid)
        for key in ("rule", "priority", "output", "output_fields", "time", "source"):
            wants_equal(f"{key} at {place}", same[key], event[key])
    wants_equal("the header", [key for _, key, alert in Web.got if alert["uuid"] == uuid][:1], [uuid])
    wants_equal("the rule", event["rule"], RULE)
    wants_part("the alert", event["output"], "/etc/shadow", name)
    states = lambda: {o["name"]: o["state"] for o in json.loads(ask(f"/api/v1/events/{uuid}"))["outputs"]}  # noqa: E731
    guest.wait_for("what became of it", lambda: set(states().values()) == {"delivered"}, SOON, 0.2)
    wants_equal("outputs", sorted(states()), ["redis", "syslog", "webhook"])
    return f"in the hub after {kept:.1f} s"


def page():
    """The page is served, with what draws it. That it draws what its interface says is tests/hub/browser.rs's."""
    wants_part("the page", ask("/"), "<title>falco-hub</title>", "app.js")
    wants_part("its script", ask("/alerts.js"), "events/search")
    counts = json.loads(ask("/api/v1/events/overview"))
    wants(counts["all"] >= 2, f"the dashboard counts {counts['all']} alerts")
    wants_part("the rules of the dashboard", json.dumps(counts["by"]["rule"]["top"]), RULE)


def killed(process):
    """What was acknowledged is there when the hub comes back, and what happens then arrives as before."""
    uuid = found("hub-first")[0]["uuid"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub()
    wants_equal("the alert of before", found("hub-first")[0]["uuid"], uuid)
    return arrives("hub-second")


def main():
    guest.must_be_guest()
    report = Report()
    os.makedirs(WORK)
    with open(f"{WORK}/hub.yaml", "w", encoding="utf-8") as file:
        file.write(CONFIG)
    if not report.check("receivers", receivers):
        report.end()
    process = hub()
    options = ["http_output.enabled=true", f"http_output.url=http://127.0.0.1:{ALERTS}/"]
    with Sensor(f"{guest.REPOSITORY}/rules/default.yaml", options=options, module=guest.MODULE) as sensor:
        report.check("a system call is an alert at every receiver", arrives, "hub-first")
        report.check("the hub is killed and started again", killed, process)
        report.check("the page and its dashboard", page)
        report.check("the sensor's end", sensor.stop)
    report.end()


main()
