"""Every field of every event, live and replayed from the recording: equal, but for the fields that docs/falco-compat.md lists.

The document is what is held to its word: a field that it does not list must have one value in both.
"""
import json
import os
import re
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))
DOCUMENT = os.path.join(HERE, "../../../docs/falco-compat.md")
SECTION = "## Fields that live events and captures tell differently\n"
RULE = "Every field"
# What is asked for of fields that take an argument; others as they are.
ARGUMENTS = {
    "evt.arg": [],  # the parameters are in evt.args and evt.rawarg
    "evt.type.is": [".openat", ".257"],
    "evt.abspath": ["", ".src", ".dst"],
    "proc.args": ["", "[0]", "[1]", "[9]"],
    "proc.env": ["", "[PATH]", "[NOSUCH]"],
    "proc.aenv": ["", "[1]", "[HOME]"],
    "thread.cgroup": [".cpu", ".cpuset", ".memory"],
}
ANCESTORS = ["", "[0]", "[1]", "[2]", "[3]", "[9]"]
# No output can ask for it.
FILTER_ONLY = ("evt.around",)
# Listed in the document for the names in them alone: `7(name)` is compared without its name.
NAMED = ("evt.args", "evt.info")


def listed():
    """The fields of the document's table."""
    with open(DOCUMENT, encoding="utf-8") as file:
        table = file.read().split(SECTION, 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([a-z][^|]*) \|", table, re.MULTILINE)
    return {name for row in rows for name in row.split(", ")} - {"fields"}


def asked(program):
    """Every field that has to be alike, as an output names it."""
    apart = listed() - set(NAMED)
    told = json.loads(subprocess.run([program, "--list", "--format", "json"], stdout=subprocess.PIPE, check=True).stdout)
    events = subprocess.run([program, "--list-events"], stdout=subprocess.PIPE, check=True, text=True).stdout
    parameters = sorted({name for line in events.splitlines() for name in re.findall(r"[(,] ?([A-Za-z_0-9]+)", line)})
    names = []
    for field in told["fields"]:
        name = field["name"]
        if name in apart or name in FILTER_ONLY:
            continue
        if name == "evt.rawarg":
            names += [f"{name}.{parameter}" for parameter in parameters]
        elif field["argument"] == "OptionalIndex" and name not in ARGUMENTS:
            names += [name + index for index in ANCESTORS]
        else:
            names += [name + argument for argument in ARGUMENTS.get(name, [""])]
    return names


def rules(program, path, condition):
    """Writes a rule whose alert has them all."""
    output = " ".join("%" + name for name in asked(program))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"- rule: {RULE}\n  desc: d\n  priority: debug\n  warn_evttypes: false\n")
        file.write(f"  condition: {condition}\n  output: {json.dumps(output)}\n")


def events(lines):
    """Alerts by thread and time: no two events of a thread have the same."""
    found = {}
    for line in lines:
        if line.startswith("{"):
            alert = json.loads(line)
            if alert["rule"] == RULE:
                fields = alert["output_fields"]
                found.setdefault((fields["thread.tid"], fields["evt.rawtime"], fields["evt.type"]), []).append(fields)
    return found


def bare(name, value):
    if isinstance(value, str) and name in NAMED:
        return re.sub(r"(-?\d+)\([^)]*\)", r"\1", value)
    return value


# What the document says of single events: types of events, and patterns of the names of fields.
EVENTS = (
    ("close|close_range", r"fd\..*|evt\.category|evt\.count\.error\..*|evt\.buflen"),
    ("socket", r"evt\.(args|info|rawarg\.flags)"),
    ("fcntl", r"evt\.(args|info|rawarg\.arg)"),
    ("poll|ppoll", r"evt\.(args|info|rawarg\.fds)"),
)


def compared(name, fields):
    """Not what the document says of single events."""
    if name in ("fs.path.name", "fs.path.source", "fs.path.target"):
        return (fields.get(f"{name}raw") or "/").startswith("/")
    if re.fullmatch(r"fd\.(dev|dev\.minor|ino)", name) and fields.get("fd.type") not in ("file", "directory"):
        return False
    if re.fullmatch(r"fd\.(ip|port|net|proto|l4proto|cproto|sproto)", name) and fields.get("fd.ip") == []:
        return False
    return not any(re.fullmatch(types, fields["evt.type"]) and re.fullmatch(names, name) for types, names in EVENTS)


def differences(program, live, again):
    """Lines for what differs, two of each field, and how many events were compared."""
    names = set(asked(program))
    live, again = events(live), events(again)
    wrong, count = {}, 0
    for key in sorted({*live, *again}):
        one, other = live.get(key, []), again.get(key, [])
        if len(one) != len(other):
            wrong.setdefault(f"number of events {key[2]}", []).append(f"{key}: live {len(one)}, replayed {len(other)}")
            continue
        for first, second in zip(one, other):
            count += 1
            for name in sorted({*first, *second} & names):
                if bare(name, first.get(name)) != bare(name, second.get(name)) and compared(name, first):
                    text = f"{first['evt.type']} {(first.get('evt.args') or '')[:100]!r}: live {first.get(name)!r}, replayed {second.get(name)!r}"
                    wrong.setdefault(name, []).append(text)
    return [f"{name}, {len(texts)} times, such as: {text}" for name, texts in wrong.items() for text in (texts[0], texts[-1])], count
