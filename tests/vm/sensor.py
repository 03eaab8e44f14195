"""A sensor under test: started with rules, its alerts read back."""
import json
import os
import re
import signal
import subprocess
import time

import guest
from report import Failure, wants

PROGRAM = os.environ.get("FALCO_SENSOR_PROGRAM", f"{guest.REPOSITORY}/target/release/falco-sensor")
# Seconds. Generous: the guest is emulated.
READY, ALERT, STOP = 120, 60, 60

CONFIG = """\
json_output: true
json_include_output_property: true
priority: debug
rule_matching: first
buffered_outputs: false
stdout_output: {enabled: true}
syslog_output: {enabled: false}
webserver: {enabled: false}
"""


class Sensor:
    """Standard output and error go to files, so that a sensor that is stopped or slow holds nobody up."""

    number = 0

    def __init__(self, *rules, options=(), wait=True, module=None):
        Sensor.number += 1
        self.name = f"{guest.WORK}/sensor{Sensor.number}"
        self.lines, self.rest, self.lost = [], "", None
        with open(f"{guest.WORK}/falco.yaml", "w", encoding="utf-8") as file:
            file.write(CONFIG)
        command = [PROGRAM, "-c", f"{guest.WORK}/falco.yaml"]
        for path in rules:
            command += ["-r", path]
        for option in options:
            command += ["-o", option]
        if module:
            command += ["--module", module]
        with open(f"{self.name}.out", "wb") as out, open(f"{self.name}.err", "wb") as err:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd="/", start_new_session=True
            )
        # pylint: disable-next=consider-using-with
        self.file = open(f"{self.name}.out", encoding="utf-8", errors="strict")
        if wait:
            self.ready()

    def ready(self):
        guest.wait_for("the sensor", lambda: "ready: " in self.messages() or self.process.poll() is not None, READY)
        wants(self.process.poll() is None, f"the sensor ended with {self.process.poll()}:\n{self.messages()}")

    def messages(self):
        with open(f"{self.name}.err", encoding="utf-8", errors="replace") as file:
            return file.read()

    def alerts(self):
        """Every alert so far."""
        text = self.rest + self.file.read()
        *lines, self.rest = text.split("\n")
        for line in lines:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                # What a sensor says at its end is not an alert.
                if line.startswith("{"):
                    raise Failure(f"an alert is not JSON: {line[:2000]!r}") from None
        return self.lines

    def wait_alert(self, wanted, patience=ALERT):
        """The first alert for which `wanted(fields)` holds."""
        seen, end = 0, time.monotonic() + patience
        while True:
            alerts = self.alerts()
            for alert in alerts[seen:]:
                if wanted(alert.get("output_fields") or {}):
                    return alert
            seen = len(alerts)
            wants(
                self.process.poll() is None and time.monotonic() < end,
                f"the alert did not come (status {self.process.poll()}, {seen} others); the sensor says:\n"
                + self.messages()[-3000:],
            )
            time.sleep(0.02)

    def settle(self, patience=ALERT):
        """Until there has been no new alert for two seconds: what its rings held has been read."""
        end = time.monotonic() + patience
        count, since = len(self.alerts()), time.monotonic()
        while time.monotonic() < min(end, since + 2):
            time.sleep(0.1)
            if len(self.alerts()) != count:
                count, since = len(self.alerts()), time.monotonic()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Ends it as an operator would; its exit status has to be 0. `lost`: the events it counted as lost."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the sensor did not end within {STOP} s of SIGTERM:\n{self.messages()}") from None
        wants(status == 0, f"the sensor ended with {status} after SIGTERM:\n{self.messages()}")
        self.alerts()
        told = re.search(r"statistics: (.*)", self.messages())
        wants(told, f"no statistics at the end:\n{self.messages()}")
        self.lost = int(re.search(r"lost (\d+)", told[1])[1])
        # These would be faults of the module or of the sensor's reading.
        for fault in ("events without task", "broken records", "damaged places"):
            wants(f" 0 {fault}" in told[1], told[1])

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def refused(*arguments, user=None, environment=None):
    """Starts a sensor that cannot run. Checks that it ends with status 1 and one sentence; returns that."""
    command = [PROGRAM, *arguments]
    if user:
        command = ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups", "--", *command]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", text=True,
            errors="replace", timeout=READY, check=False, env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"it did not end: {error.stderr}") from None
    wants(done.returncode == 1, f"wanted status 1, got {done.returncode}:\n{done.stdout}{done.stderr}")
    wants("panicked" not in done.stderr, done.stderr)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    wants(said, "it said nothing")
    return done.stderr
