#!/usr/bin/env python3
"""Runs the scenarios against the sensor: does what a rule watches, and wants exactly that alert.

usage: run.py [--sensor PATH] [--rules FILE...] [--module FILE.ko] [--upstream DIR] [--only NAME...] [--record] [--list]

To be run as root inside a guest (scripts/vm); it changes the machine it runs on. README.md describes the
scenario files.

  --sensor PATH     default $FALCO_SENSOR_PROGRAM, or target/release/falco-sensor of the repository
  --rules FILE...   "our" rules, default rules/default.yaml
  --upstream DIR    also run with upstream's rules, DIR/falco_rules.yaml; default
                    $FALCO_CONFORMANCE/rules/upstream when that variable is set
  --module FILE     the kernel module for the sensor to load; must be removable at the end
  --only NAME...    these scenarios (shell patterns)
  --set NAME...     only these sets of rules: ours, upstream, fields
  --record          record all of it (falco-sensor --record); replaying that has to raise the same alerts, and once more with
                    every field of every event (fields.py)
  --keep DIR        leave what fields were compared there: rules, alerts, recording
  --sensor-option W give the sensor this option, for example --sensor-option=--no-pushdown; may be repeated
  --show            print every alert
  --actions         no sensor: only see whether the actions work

Prints one line per scenario and set of rules, and at the end `N passed, N failed, N skipped`; the exit status is 0 when
nothing failed.
"""
import argparse
import fnmatch
import glob
import itertools
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import fields  # noqa: E402
import guest  # noqa: E402

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
WORK = "/run/act"  # a tmpfs of its own, so that what is executed here is in no overlay
SENTINEL = "scn-sentinel"
SERVED = (22, 443, 6443, 8080)  # TCP ports of the neighbour
RECORDING = "/tmp/recording.scap"
# What a capture does not tell as the kernel does (docs/falco-compat.md): when exactly a process began, in a container which end
# of a connection is this machine, and the directory of some relative paths.
NOT_IN_CAPTURES = ("proc.exe_ino.ctime_duration_", "container.start_ts", "fd.lport", "fd.rport", "fd.lip", "fd.rip", "fs.path.")
CONTAINER = "c0ffee0123456789" * 4
# Seconds. Generous: the guest is emulated.
READY, SYNC, ACTION, STOP = 120, 60, 300, 30

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C", "TERM": "dumb"}

CONFIG = """\
json_output: true
json_include_output_property: true
json_include_tags_property: true
rule_matching: first
priority: debug
buffered_outputs: false
stdout_output: {enabled: true}
syslog_output: {enabled: false}
webserver: {enabled: false}
append_output:
  - extra_fields: [container.id, evt.cpu, proc.ppid]
"""


class Failure(Exception):
    """What went wrong, for the one who reads the report."""


# ---------------------------------------------------------------------------------------------------- guest


def container_cgroup():
    """A cgroup path as Docker with systemd would make it, in whichever hierarchy processes can be moved to at once."""
    root = "/sys/fs/cgroup"
    for hierarchy in (root, f"{root}/systemd", f"{root}/unified"):
        if os.path.exists(f"{hierarchy}/cgroup.procs"):
            return f"{hierarchy}/system.slice/docker-{CONTAINER}.scope"
    raise Failure("no cgroup hierarchy at /sys/fs/cgroup")


def prepare():
    os.makedirs(WORK, exist_ok=True)
    if not os.path.ismount(WORK):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=128m", "act", WORK], check=True)
    for name in ("file/etc", "www/html", "image"):
        os.makedirs(f"{WORK}/{name}", exist_ok=True)
    os.makedirs("/dev/shm/act", exist_ok=True)
    shutil.copy(guest.compiled("act"), f"{WORK}/act")
    network()


def network():
    """A neighbour of this machine, in a network namespace: 203.0.113.2 and 2001:db8::2 stand for the internet, 10.96.0.1 for
    the API server of a cluster. The namespace stays, so do the servers: the machine is thrown away."""
    if os.path.exists("/run/netns/act"):
        return
    for line in (
        "ip netns add act",
        "ip link add act0 type veth peer name act1 netns act",
        "ip addr add 203.0.113.1/24 dev act0",
        "ip addr add 10.96.0.2/24 dev act0",
        "ip -6 addr add 2001:db8::1/64 dev act0 nodad",
        "ip link set act0 up",
        "ip -n act addr add 203.0.113.2/24 dev act1",
        "ip -n act addr add 10.96.0.1/24 dev act1",
        "ip -n act -6 addr add 2001:db8::2/64 dev act1 nodad",
        "ip -n act link set act1 up",
        "ip -n act link set lo up",
    ):
        subprocess.run(line.split(), check=True, env=ENVIRONMENT)
    with open("/etc/hosts", "a", encoding="utf-8") as file:
        file.write("10.96.0.1 kubernetes.default.svc.cluster.local\n")
    command = ["ip", "netns", "exec", "act", f"{WORK}/act"]
    for address in ("203.0.113.2", "10.96.0.1", "2001:db8::2"):
        for port in SERVED:
            command += ["listen", address, str(port)]
    subprocess.Popen([*command, "sleep", "86400000"], env=ENVIRONMENT, stdin=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 30
    while not subprocess.run([f"{WORK}/act", "connect", "2001:db8::2", str(SERVED[-1])], check=False,
                             stderr=subprocess.DEVNULL).returncode == 0:
        if time.monotonic() > end:
            raise Failure("the neighbour in the network namespace does not answer")
        time.sleep(0.1)
    # Loads what the kernel would otherwise load in the middle of a scenario.
    subprocess.run([f"{WORK}/act", "packet-socket"], check=True)


def words(line):
    """The arguments of a line: {container} is a container's cgroup, @NAME a copy of act of that name."""
    made = []
    for word in shlex.split(line.replace("{container}", container_cgroup())):
        if re.fullmatch(r"@[\w.:+\[\]()-]+", word):
            path = f"{WORK}/{word[1:]}"
            if not os.path.exists(path):
                os.link(f"{WORK}/act", path)
            word = path
        made.append(word)
    return made


def do(line, may_fail=False):
    """Runs one line of a scenario, without a shell: a shell would be in the lineage, and could be what a rule watches."""
    if isinstance(line, dict):
        may_fail, line = line.get("may_fail", False), line["run"]
    try:
        done = subprocess.run(
            words(line), cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=ACTION, start_new_session=True, check=False,
        )
    except FileNotFoundError as error:
        raise Failure(f"`{line}`: {error}") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"`{line}`: no end within {ACTION} s") from None
    if done.returncode and not may_fail:
        text = done.stdout.decode(errors="replace").strip()
        raise Failure(f"`{line}` ended with {done.returncode}: {text}")


# ---------------------------------------------------------------------------------------------------- sensor


class Sensor:
    """A running sensor; its alerts in the order it printed them."""

    def __init__(self, program, rules, module, more=()):
        self.config = f"{WORK}/config.yaml"
        self.file = f"{WORK}/alerts.jsonl"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        if os.path.exists(self.file):
            os.unlink(self.file)
        command = [program, "-c", self.config]
        for path in [*rules, f"{HERE}/sentinel.yaml"]:
            command += ["-r", path]
        command += [
            "-o", "json_output=true", "-o", "file_output.enabled=true", "-o", f"file_output.filename={self.file}",
        ]
        if module:
            command += ["--module", module]
        command += more
        self.lines = queue.Queue()
        self.printed = []
        self.messages = []
        self.is_ready = threading.Event()
        self.round = 0
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            text=True, errors="replace", start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read_alerts, daemon=True)
        self.reader.start()
        threading.Thread(target=self._read_messages, daemon=True).start()
        if not self._wait_ready():
            raise Failure("the sensor did not become ready:\n" + self.told())

    def _read_alerts(self):
        for line in self.process.stdout:
            if line.strip():
                self.printed.append(line)
                self.lines.put(line)
        self.lines.put(None)

    def _read_messages(self):
        for line in self.process.stderr:
            self.messages.append(line)
            if "ready" in line:
                self.is_ready.set()

    def _wait_ready(self):
        end = time.monotonic() + READY
        while time.monotonic() < end and self.process.poll() is None:
            if self.is_ready.wait(0.2):
                return True
        return False

    def told(self):
        time.sleep(0.1)
        return "".join("    " + line for line in self.messages[-30:]) or "    (it said nothing)\n"

    def alerts(self):
        """Those since the last call. All of them: a sentinel per processor marks the end of each ring."""
        self.round += 1
        processors = sorted(os.sched_getaffinity(0))
        for cpu in processors:
            do(f"@act cpu {cpu} exec @{SENTINEL} {self.round} {cpu}")
        missing = {f"{self.round} {cpu}" for cpu in processors}
        found = []
        end = time.monotonic() + SYNC
        while missing:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(
                    f"no sentinel from processor {', '.join(sorted(m.split()[1] for m in missing))} within {SYNC} s; "
                    f"the sensor says:\n{self.told()}"
                ) from None
            if line is None:
                raise Failure(f"the sensor ended ({self.process.wait()}):\n{self.told()}")
            try:
                alert = json.loads(line)
            except ValueError:
                raise Failure(f"not JSON on stdout: {line!r}") from None
            if alert.get("rule") == "Scenario sentinel":
                missing.discard(alert["output_fields"].get("proc.args"))
            else:
                found.append(alert)
        return found

    def stop(self):
        """Ends it; what is wrong about the end and about the alert file."""
        wrong = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP)
            if status:
                wrong.append(f"the sensor ended with status {status} after SIGTERM:\n{self.told()}")
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            wrong.append(f"the sensor did not end within {STOP} s of SIGTERM")
        self.reader.join(STOP)
        try:
            with open(self.file, encoding="utf-8", errors="replace") as file:
                written = [line for line in file if line.strip()]
            # At its end it counts them, on stdout only.
            printed = [line for line in self.printed if line.startswith("{")]
            for number, (one, other) in enumerate(itertools.zip_longest(written, printed), 1):
                if one != other:
                    wrong.append(
                        f"the alert file ({len(written)} lines) and stdout ({len(printed)}) differ at line {number}:\n"
                        f"  file   {one!r}\n  stdout {other!r}"
                    )
                    break
            if f"Events detected: {len(printed)}\n" not in self.printed:
                told = [line for line in self.printed if line.startswith("Events detected")]
                wrong.append(f"{len(printed)} alerts were printed, and it counted {told}")
        except OSError as error:
            wrong.append(f"no alert file: {error}")
        return wrong


# ---------------------------------------------------------------------------------------------------- scenarios


def load(only):
    with open(f"{HERE}/common.json", encoding="utf-8") as file:
        common = json.load(file)
    found = []
    for path in sorted(glob.glob(f"{HERE}/cases/*.json")):
        with open(path, encoding="utf-8") as file:
            try:
                scenario = json.load(file)
            except ValueError as error:
                sys.exit(f"{path}: {error}")
        scenario["name"] = os.path.basename(path)[: -len(".json")]
        if only and not any(fnmatch.fnmatchcase(scenario["name"], pattern) for pattern in only):
            continue
        unknown = set(scenario) - {
            "name", "about", "rule", "only_rules", "needs", "setup", "action", "alerts", "near_miss", "cleanup",
        }
        if unknown:
            sys.exit(f"{path}: what is {', '.join(sorted(unknown))}?")
        for alert in scenario.get("alerts", []):
            alert.setdefault("rule", scenario.get("rule"))
            alert["output_fields"] = {**common, **alert.get("output_fields", {})}
        found.append(scenario)
    return found


def of_set(items, rules_set):
    """Those that are meant for this set of rules; others have an "only"."""
    return [item for item in items if not isinstance(item, dict) or item.get("only", rules_set) == rules_set]


def agrees(wanted, value):
    if isinstance(wanted, dict) and set(wanted) == {"re"}:
        text = value if isinstance(value, str) else json.dumps(value)
        return value is not None and re.fullmatch(wanted["re"], text) is not None
    # 0 is not false, 1 is not true.
    return type(wanted) is type(value) and wanted == value


def differences(wanted, alert):
    found = []
    for key in ("rule", "priority"):
        if key in wanted and alert.get(key) != wanted[key]:
            found.append(f"{key}: wanted {wanted[key]!r}, got {alert.get(key)!r}")
    fields = alert.get("output_fields") or {}
    for name, value in wanted["output_fields"].items():
        if name not in fields:
            found.append(f"{name}: wanted {value!r}, not there")
        elif not agrees(value, fields[name]):
            found.append(f"{name}: wanted {value!r}, got {fields[name]!r}")
    if alert.get("source") != "syscall":
        found.append(f"source: wanted 'syscall', got {alert.get('source')!r}")
    return found


def show(alert):
    fields = alert.get("output_fields") or {}
    return f"[{alert.get('rule')}] {alert.get('priority')} " + json.dumps(fields, ensure_ascii=False, sort_keys=True)


def compare(wanted, got):
    """Exactly these alerts, in any order. What is wrong, as lines."""
    left = list(got)
    wrong = []
    for want in wanted:
        best = None
        for alert in left:
            found = differences(want, alert)
            if best is None or len(found) < len(best[0]):
                best = (found, alert)
        if best is None:
            wrong.append(f"no alert of [{want['rule']}]")
            continue
        if best[0] and best[1].get("rule") != want["rule"]:
            wrong.append(f"no alert of [{want['rule']}]")
            continue
        left.remove(best[1])
        if best[0]:
            wrong.append(f"alert of [{want['rule']}] differs:")
            wrong += [f"  {line}" for line in best[0]]
    wrong += [f"unwanted alert {show(alert)}" for alert in left]
    return wrong


def missing_needs(scenario):
    for need in scenario.get("needs", []):
        if need.startswith("/") and not os.path.exists(need):
            return f"no {need} here"
        if need == "cgroup2" and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            return "no cgroup v2 here"
    return None


def run_actions(scenario, rules_set, sensor, shown):
    """What is wrong with this scenario, as lines."""
    wrong = []

    def get():
        found = sensor.alerts() if sensor else []
        for alert in found if shown else []:
            print(f"     {show(alert)}")
        return found

    for line in of_set(scenario.get("setup", []), rules_set):
        do(line)
    try:
        get()
        for line in of_set(scenario.get("action", []), rules_set):
            do(line)
        if sensor:
            wrong += compare(of_set(scenario.get("alerts", []), rules_set), get())
        for line in of_set(scenario.get("near_miss", []), rules_set):
            do(line)
        wrong += [f"near miss: unwanted alert {show(alert)}" for alert in get()]
    finally:
        for line in of_set(scenario.get("cleanup", []), rules_set):
            do(line, may_fail=True)
    return wrong


def nameless(fields):
    """Without the names of processes behind their numbers: live they are those that still run when the alert is made."""
    bare = {name: re.sub(r"(pid=\d+)\([^)]*\)", r"\1", fields[name]) for name in ("evt.args", "evt.info") if fields.get(name)}
    return {**fields, **bare}


def replayed(program, files):
    """What a replay of RECORDING prints."""
    command = [program, "-c", f"{WORK}/config.yaml", "--replay", RECORDING, "-o", "json_output=true"]
    for path in [*files, f"{HERE}/sentinel.yaml"]:
        command += ["-r", path]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", text=True,
                          errors="replace", timeout=ACTION, check=False)
    if done.returncode:
        raise Failure(f"the replay ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()


def replay(program, files, printed):
    """What is wrong with the alerts of a replay, as lines: they have to be those that were printed live."""

    def alerts(lines):
        found = {}
        for line in lines:
            if line.startswith("{"):
                alert = json.loads(line)
                found.setdefault((alert["time"], alert["rule"]), []).append(alert)
        return found

    live, again, wrong = alerts(printed), alerts(replayed(program, files)), []
    for key in sorted({*live, *again}):
        # A rule that held for the path that was opened, not for the one given, is heard live only.
        one = [alert for alert in live.get(key, []) if key in again or "fd.name.opened" not in alert["output_fields"]]
        other = again.get(key, [])
        if len(one) != len(other):
            wrong.append(f"live {len(one)}, replayed {len(other)}: {key[0]} {show((one or other)[0])}")
            continue
        for first, second in zip(one, other):
            fields, values = nameless(first["output_fields"]), nameless(second["output_fields"])
            for name in sorted({*fields, *values}):
                if fields.get(name) != values.get(name) and not name.startswith(NOT_IN_CAPTURES):
                    wrong.append(f"[{key[1]}] {name}: live {fields.get(name)!r}, replayed {values.get(name)!r}")
    if not live:
        wrong.append("nothing was printed")
    return wrong


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, name, seconds):
        self.passed += 1
        print(f"ok   {name} ({seconds:.1f} s)", flush=True)

    def fail(self, name, lines):
        self.failed += 1
        print(f"FAIL {name}", flush=True)
        for line in lines:
            for part in str(line).splitlines():
                print(f"     {part}", flush=True)

    def skip(self, name, why, number=1):
        self.skipped += number
        print(f"skip {name}: {why}", flush=True)


def run_set(rules_set, files, options, scenarios, report):
    meant = [scenario for scenario in scenarios if scenario.get("only_rules", "both") in ("both", rules_set)]
    sensor = None
    try:
        if not options.actions:
            more = [*options.sensor_option, *(["--record", RECORDING] if options.record else [])]
            sensor = Sensor(options.sensor, files, options.module, more)
    except (Failure, OSError) as error:
        report.fail(f"{rules_set}: start", [error])
        report.skip(f"{rules_set}: {len(meant)} scenarios", "no sensor", len(meant))
        return
    for scenario in meant:
        name = f"{rules_set}: {scenario['name']}"
        why = missing_needs(scenario)
        if why:
            report.skip(name, why)
            continue
        started = time.monotonic()
        try:
            wrong = run_actions(scenario, rules_set, sensor, options.show)
        except Failure as error:
            wrong = [error]
        if wrong:
            report.fail(name, wrong)
        else:
            report.ok(name, time.monotonic() - started)
        if sensor and sensor.process.poll() is not None:
            break
    if sensor:
        wrong = sensor.stop()
        print("".join(line for line in sensor.messages if "statistics:" in line), end="", flush=True)
        if wrong:
            report.fail(f"{rules_set}: end", wrong)
        if options.record:
            started = time.monotonic()
            try:
                wrong = replay(options.sensor, files, sensor.printed)
            except Failure as error:
                wrong = [error]
            if wrong:
                report.fail(f"{rules_set}: replay", wrong)
            else:
                report.ok(f"{rules_set}: replay of {len(sensor.printed)} alerts", time.monotonic() - started)


def run_fields(options, scenarios, report):
    """Does it all once more, for the fields of its events."""
    started = time.monotonic()
    path = f"{WORK}/fields.yaml"
    try:
        fields.rules(options.sensor, path, f"proc.exepath startswith {WORK}/ or proc.pexepath startswith {WORK}/")
        sensor = Sensor(options.sensor, [path], options.module, [*options.sensor_option, "--record", RECORDING, "-o", "rule_matching=all"])
        for scenario in scenarios:
            if missing_needs(scenario):
                continue
            for part in ("setup", "action", "near_miss", "cleanup"):
                for line in of_set(scenario.get(part, []), "ours"):
                    do(line, may_fail=True)
        sensor.alerts()
        wrong = sensor.stop()
        if options.keep:
            os.makedirs(options.keep, exist_ok=True)
            shutil.copy(path, options.keep)
            shutil.copy(RECORDING, options.keep)
            with open(f"{options.keep}/live.jsonl", "w", encoding="utf-8") as file:
                file.writelines(sensor.printed)
        found, count = fields.differences(options.sensor, sensor.printed, replayed(options.sensor, [path]))
        wrong += found
        if not count:
            wrong.append("nothing was compared")
    except (Failure, OSError) as error:
        wrong, count = [error], 0
    if wrong:
        report.fail("fields", wrong)
    else:
        report.ok(f"fields of {count} events, live and replayed", time.monotonic() - started)


def main():
    upstream = os.environ.get("FALCO_CONFORMANCE")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sensor", default=os.environ.get("FALCO_SENSOR_PROGRAM", f"{REPOSITORY}/target/release/falco-sensor"), help=argparse.SUPPRESS)
    add("--rules", nargs="+", default=[f"{REPOSITORY}/rules/default.yaml"], help=argparse.SUPPRESS)
    add("--upstream", default=f"{upstream}/rules/upstream" if upstream else None, help=argparse.SUPPRESS)
    add("--module", help=argparse.SUPPRESS)
    add("--only", nargs="+", help=argparse.SUPPRESS)
    add("--set", nargs="+", choices=("ours", "upstream", "fields"), help=argparse.SUPPRESS)
    add("--list", action="store_true", help=argparse.SUPPRESS)
    add("--show", action="store_true", help=argparse.SUPPRESS)
    add("--record", action="store_true", help=argparse.SUPPRESS)
    add("--sensor-option", action="append", default=[], help=argparse.SUPPRESS)
    add("--keep", help=argparse.SUPPRESS)
    add("--actions", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    scenarios = load(options.only)
    if options.list:
        for scenario in scenarios:
            print(f"{scenario['name']:32} {scenario.get('only_rules', 'both'):9} {scenario.get('rule') or '(nothing)'}")
        return 0
    if os.geteuid() != 0 or not os.environ.get("FALCO_SENSOR_KERNEL"):
        sys.exit("run.py: wants to be root in a guest: scripts/vm KERNEL -- tests/vm/scenarios/run.py")
    if not scenarios:
        sys.exit("run.py: no such scenario")
    report = Report()
    prepare()
    try:
        if not options.set or "ours" in options.set:
            run_set("ours", options.rules, options, scenarios, report)
        if options.upstream and (not options.set or "upstream" in options.set):
            run_set("upstream", [f"{options.upstream}/falco_rules.yaml"], options, scenarios, report)
        elif not options.set or "upstream" in options.set:
            print("note: no --upstream and no FALCO_CONFORMANCE: upstream's rules were not run")
        if options.record and (not options.set or "fields" in options.set):
            run_fields(options, scenarios, report)
    finally:
        if options.module:
            name = os.path.basename(options.module).removesuffix(".ko").replace("-", "_")
            if os.path.exists(f"/sys/module/{name}") and subprocess.run(["rmmod", name], check=False).returncode:
                report.fail("rmmod", [f"{name} cannot be removed"])
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
