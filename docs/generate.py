"""Makes the pages that repeat what the code says, so that the two cannot drift apart.

python docs/generate.py            write them
python docs/generate.py --check    say which of them differ from what is there; status 1 if one does

Whole pages are ``reference/api.md``, ``contracts.md``, ``errors.md``,
``telemetry.md`` and ``commands.md``, and one below ``hooks/`` for each hook. In other pages, what
stands between ``<!-- settings: FILE CLASS -->`` and ``<!-- end -->`` is made.

Everything but the commands and the telemetry is read from the sources, not imported.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap

from collections.abc import Iterator
from pathlib import Path

from _help import commands_page
from _markdown import (
    NOTE,
    ROOT,
    cell,
    decorators,
    described,
    docstring,
    fields,
    found,
    heading,
    parsed,
    signature,
    table,
    text_of,
)

API = (
    ("Opening", (("manager", "open"), ("manager", "SecretManager"), ("acting", "acting_as"))),
    ("", (("model", "Principal"),)),
    (
        "asyncio",
        (
            ("aio/manager", "open_async"),
            ("aio/manager", "AsyncSecretManager"),
            ("aio/rotation", "AsyncRotationDesk"),
            ("aio/journals", "AsyncJournalDesk"),
            ("aio/recorded", "AsyncRecordedAction"),
        ),
    ),
    ("What a read gives", (("model", "Secret"), ("model", "SecretValue"), ("model", "ValueType"))),
    ("", (("model", "SecretName"), ("model", "Freshness"), ("operations/batch", "Batch"), ("model", "SecretVersion"))),
    ("What a change gives", (("outcomes", "Written"), ("outcomes", "Deleted"), ("events/updates", "SecretUpdated"))),
    ("Deleted versions, notes, folders", (("operations/recovery", "Undeleted"), ("operations/recovery", "Destroyed"))),
    ("", (("operations/recovery", "Description"), ("stages/browsing", "Folder"))),
    ("Rotation", (("rotation/desk", "RotationDesk"), ("outcomes", "Rotated"), ("rotation/changes", "Undone"))),
    ("", (("rotation/reports", "RotationPlan"), ("rotation/reports", "RotationStatus"))),
    ("", (("rotation/reports", "DueRun"), ("rotation/reports", "DueFailure"), ("events/updates", "Announcement"))),
    ("", (("contracts/service_rotation", "Schedule"),)),
    ("Named keys", (("operations/encryption", "DataKey"), ("operations/encryption", "RotatedKey"))),
    ("Alerts", (("anomaly/stage", "Alert"), ("contracts/anomaly", "Access"))),
    (
        "State",
        (("cache/stats", "CacheStats"), ("operations/checkup", "ManagerHealth"), ("operations/checkup", "PartHealth")),
    ),
    ("", (("contracts/health", "Health"), ("contracts/health", "HealthState"), ("leases/held", "LeaseStatus"))),
    (
        "Outages",
        (
            ("operations/checkup", "JournalHealth"),
            ("resilience/conditions", "ConditionReport"),
            ("resilience/conditions", "ConditionChanged"),
        ),
    ),
    ("", (("resilience/conditions", "ConditionState"), ("outages/known", "KnownOutage"))),
    (
        "The journal",
        (
            ("operations/journals", "JournalDesk"),
            ("operations/journals", "QueuedWrite"),
            ("operations/journals", "Replayed"),
        ),
    ),
    (
        "References in text: `strongroom.references`",
        (
            ("references", "Reference"),
            ("references", "is_reference"),
            ("references", "find"),
            ("references", "fill"),
            ("references", "segment"),
            ("references", "unsegment"),
        ),
    ),
    ("Masking: `strongroom.masking`", (("masking/masker", "Masker"), ("masking/stream", "MaskingStream"))),
    (
        "Upkeep and trails",
        (
            ("operations/maintenance", "AuditedMaintenance"),
            ("operations/recorded", "RecordedAction"),
            ("trails", "OpenTrail"),
        ),
    ),
    ("Errors", (("errors", "StrongroomError"),)),
)
CONTRACTS = (
    ("Backends", "contracts/backend"),
    ("Cache policies", "contracts/cache"),
    ("Audit sinks", "contracts/audit"),
    ("Anomaly detectors", "contracts/anomaly"),
    ("Rotators", "contracts/rotation"),
    ("Telemetry exporters", "contracts/telemetry"),
    ("Commands", "contracts/commands"),
    ("Health", "contracts/health"),
    ("Keys and settings", "contracts/keys"),
    ("Backends that keep a file of their own", "contracts/maintenance"),
    ("Backends that keep what detectors have learned", "contracts/state"),
    ("Backends that keep deleted versions, or notes", "contracts/recovery"),
    ("Backends that keep a pending value", "contracts/staging"),
    ("Backends whose service rotates", "contracts/service_rotation"),
    ("Backends that say which versions are current", "contracts/polling"),
    ("Backends that make credentials", "contracts/leasing"),
    ("Backends that encrypt and sign", "contracts/encrypting"),
    ("Backends that help others through an outage", "contracts/journal"),
)
# The pages


def api_page() -> str:
    """Return the page of what applications use."""
    made = ["# The Python API\n", NOTE, textwrap.dedent(API_INTRODUCTION)]
    for title, names in API:
        made += [heading(2, title)] if title else []
        made += [described(found(module, name), 3) for module, name in names]
    made.append("All other errors are in [errors and exit statuses](errors.md).\n")
    return "\n".join(made)


API_INTRODUCTION = """\
    `import strongroom` gives all that stands on this page, such as `strongroom.open` and `strongroom.Written`, but for
    the two modules that are named where their parts stand. The errors are in `strongroom.errors`, all that names and
    values are made of in `strongroom.model`. What plugins are made of is in [contracts](contracts.md). Names that begin
    with an underscore, and modules that no page names, may change at any time.

    `strongroom.ABSENT`, given as `expect_version`, means: write only if there is no such secret.
    """


def contracts_page() -> str:
    """Return the page of what plugin authors implement."""
    made = ["# Contracts\n", NOTE, textwrap.dedent(CONTRACTS_INTRODUCTION)]
    for title, module in CONTRACTS:
        made.append(heading(2, title))
        classes = [node for node in parsed(module).body if isinstance(node, ast.ClassDef)]
        made += [described(node, 3) for node in classes]
        if module == "contracts/keys":
            made += settings_kinds()
    return "\n".join(made)


CONTRACTS_INTRODUCTION = """\
    What a plugin implements, and what passes between it and the core. All of it is in `strongroom.contracts`. Methods
    take one request and return one result, both frozen, so that fields can be added without breaking a plugin.
    To begin, [write a plugin in an afternoon](../write-a-plugin.md); the hooks are in [hooks](../hooks/README.md).
    """


def settings_kinds() -> Iterator[str]:
    """Yield the entries of the types that only settings have."""
    body = parsed("contracts/settings").body
    yield from (described(node, 3) for node in body if isinstance(node, ast.ClassDef))
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.Assign) and text_of(below):
            yield heading(3, f"`{ast.unparse(statement.targets[0])}`")
            yield docstring(text_of(below))


def errors_page() -> str:
    """Return the page of errors, codes and exit statuses."""
    made = ["# Errors and exit statuses\n", NOTE, textwrap.dedent(ERRORS_INTRODUCTION)]
    statuses, codes = {"Exception": "1"}, {"Exception": ""}
    rows = []
    for node in parsed("errors").body:
        if not isinstance(node, ast.ClassDef):
            continue
        base = ast.unparse(node.bases[0])
        own = {ast.unparse(getattr(item, "target", None) or item.targets[0]): item.value for item in _assigned(node)}
        statuses[node.name] = ast.unparse(own["exit_status"]) if "exit_status" in own else statuses[base]
        if "codes" in own:
            codes[node.name] = ", ".join(f"`{code}`" for code in ast.literal_eval(own["codes"]))
        else:
            codes[node.name] = codes[base]
        text = docstring(ast.get_docstring(node)).partition("\n\n")[0]
        rows.append((f"`{node.name}`", f"`{base}`", codes[node.name], statuses[node.name], cell(text)))
    made.append(table(("class", "derived from", "codes", "exit status", "meaning"), rows))
    made += [textwrap.dedent(ERRORS_TAKEN), table(("class", "argument", "meaning"), list(_taken()))]
    made.append(textwrap.dedent(ERRORS_END))
    return "\n".join(made)


def _taken() -> Iterator[tuple[str, str, str]]:
    """Yield what each class of error takes beside what all of them do: the class, the argument, what it means."""
    for node in parsed("errors").body:
        if not isinstance(node, ast.ClassDef) or node.name == "StrongroomError":
            continue
        text = ast.get_docstring(node) or ""
        for name, meaning in re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, re.MULTILINE):
            yield f"`{node.name}`", f"`{name}`", cell(docstring(" ".join(meaning.split())))


def _assigned(node: ast.ClassDef) -> list[ast.Assign | ast.AnnAssign]:
    return [item for item in node.body if isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None]


ERRORS_INTRODUCTION = """\
    Every error is a `StrongroomError`. It says what failed and why (`what`), what to do about it (`hint`), and holds
    the secret's name and the backend's where one is concerned; never a value. Its `code` is stable: Python programs,
    the command, the audit trail's `result` and spans all use it. The command prints `strongroom: WHAT: HINT` on
    standard error.

    What to do about the ones that come up most is in [troubleshooting](../troubleshooting.md).
    """
ERRORS_TAKEN = """\
    ## Raising them in a plugin

    `SecretNotFoundError("there is no file for db/password", hint="check the spelling", name=name)`: first what failed
    and why, in one sentence without a stop, and then by name `hint`, `code` if it is not the class's first one, `name`
    and `backend`. Some take more, or are given an attribute after they are made, such as `error.unsent = True`:
    """
ERRORS_END = """\
    ## Statuses that are no error of ours

    | exit status | meaning |
    | --- | --- |
    | 0 | fine |
    | 11 | queued: the change is accepted, and made when its backend answers: see [outages](../how-to/outages.md) |
    | 125 | `run` itself failed, before the program began |
    | 126 | `run` found the program but may not run it |
    | 127 | `run` did not find the program |
    | 130 | interrupted from the keyboard |

    Any other status of `run` is the program's own: it replaces the process.
    """


def telemetry_page() -> str:
    """Return the page of spans, attributes and metrics."""
    from strongroom.telemetry.names import METRICS, SPAN_ATTRIBUTES

    measured = []
    for one in sorted(METRICS, key=lambda one: one.name):
        attributes = " ".join(f"`{name}`" for name in one.attributes)
        measured.append((f"`{one.name}`", one.kind, f"`{one.unit}`", cell(one.summary), attributes))
    rows = [(f"`{name}`", cell(text)) for name, text in SPAN_ATTRIBUTES.items()]
    made = ["# Spans and metrics\n", NOTE, textwrap.dedent(TELEMETRY_INTRODUCTION)]
    made += [heading(2, "Attributes of spans"), table(("attribute", "what it says"), rows)]
    made += [heading(2, "Metrics"), table(("metric", "kind", "unit", "what it tells", "attributes"), measured)]
    made.append(textwrap.dedent(TELEMETRY_END))
    return "\n".join(made)


TELEMETRY_INTRODUCTION = """\
    strongroom uses the API of OpenTelemetry, and only in a process where somebody has imported it; see
    [traces and metrics](../how-to/traces.md). Where OpenTelemetry's semantic conventions have a name for something,
    that name is used; what begins with `strongroom.` is ours, since there are no conventions for stores of secrets.

    Both lists are closed: nothing else is ever set. No value, no name of a secret or principal, no text of an error, no
    command line and no address of a request is in them. Secrets are told apart by an HMAC of their name.

    Spans are called `strongroom.` and the operation, of kind `CLIENT`: one around each call of a backend, an audit sink
    (`strongroom.audit_write`) or a rotator (`strongroom.rotator.apply`, ...). A reader's hit in the cache has none. The
    command makes one around all, `strongroom.command`, of kind `INTERNAL`, as part of the trace that the variables
    `TRACEPARENT` and `TRACESTATE` name. The status is unset where all went well, and `ERROR` with `error.type` else.
    """

TELEMETRY_END = """\
    A metric with several attributes has of each of them what applies: a call of a sink has `strongroom.sink.type`,
    and no backend. Counters end in `_total` and units in words where Prometheus shows them:
    `strongroom.client.operation.duration` is `strongroom_client_operation_duration_seconds` there.

    What is looked up when somebody collects (the cache, breakers, detectors, leases, what waits for a sink) is told for
    all managers of the process together. The gauges of `strongroom.part.up`, tokens and stores are as of the last
    `manager.health()`, and `strongroom.rotations.due` as of the last look at the whole schedule; the
    [agent](../how-to/run-the-agent.md) sees to both.

    Where the SDK keeps exemplars, each measurement of a duration points to its span.
    """


def hook_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and text of each hook's page, and of the one that lists them."""
    rows = []
    for node in parsed("hookspecs").body:
        if not isinstance(node, ast.FunctionDef) or "_hookspec" not in decorators(node):
            continue
        text = ast.get_docstring(node) or ""
        rows.append((f"[`{node.name}`]({node.name}.md)", cell(text.partition("\n")[0])))
        yield f"hooks/{node.name}.md", hook_page(node, text)
    yield "hooks/README.md", "\n".join(["# Hooks\n", NOTE, textwrap.dedent(HOOKS), table(("hook", "purpose"), rows)])


def hook_page(node: ast.FunctionDef, text: str) -> str:
    """Return one hook's page."""
    (spec,) = re.findall(r"\w+Spec", ast.unparse(node.returns or ast.Constant("")))
    head = f"```text\ndef {signature(node)}\n```\n"
    links = f"[`{spec}`](../reference/contracts.md#{spec.lower()}) describes what is offered. [All hooks](README.md).\n"
    return "\n".join([heading(1, f"`{node.name}`"), NOTE, head, docstring(text), links])


HOOKS = """\
    A hook is a function in the module that an entry point names, marked with `strongroom.hookspecs.hookimpl`. It takes
    no arguments and yields descriptions, so no plugin sees what passes through another one. `strongroom plugins` lists
    what is installed, with the error of whatever is broken. To begin, read
    [write a plugin in an afternoon](../write-a-plugin.md).

    ## What every module promises

    - It loads nothing heavy, such as a client library, when it is imported and its hooks are called: that is imported
      by the function which a description gives as `open`.
    - Each name that a hook offers is the name of an entry point, in the group of its kind, that leads to the module. It
      offers no name twice, and yields descriptions only, no live objects.
    - The hook has a docstring. The summary of a description is one line and ends with a full stop.
    - `open` takes the settings and nothing else; `run` of a command takes the call.
    - The settings are a `strongroom.contracts.Record` or an attrs class. They cannot be changed, and the class and each
      field have a docstring.
    - The distribution requires `strongroom`, and says in which versions.

    ## All hooks
    """


# Tables of settings within pages


SETTINGS = re.compile(r"(<!-- settings: (\S+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true` or `false`",
    "Seconds": "duration",
    "Size": "size",
    "FilePath": "path",
    "KeySource": "reference",
    "SecretValue": "reference",
    "tuple[FilePath, ...]": "list of paths",
    "dict[str, str]": "table of texts",
    "dict[str, SecretValue]": "table of references",
    "dict[str, KeySource]": "table of references",
    "dict[str, CallerSettings]": "table",
    "dict[str, ActionSettings]": "table",
    "dict[str, ParameterSettings]": "table",
    "dict[str, Literal['string', 'integer', 'number', 'boolean']]": "table of types",
    "str | int | bool": "text, whole number, or `true` or `false`",
    "dict[str, Seconds]": "table of durations",
    "tuple[str, ...]": "list of texts",
    "str | tuple[str, ...]": "text, or list of texts",
    "int | str": "whole number, or text",
    "AuthSettings": "table",
    "TLSSettings": "table",
    "RotationSettings": "table",
    "RateSettings": "table",
    "dict[str, NameKeys]": "table",
    "dict[str, Any]": "table",
}


def with_settings(page: str) -> str:
    """Return a page with its tables of settings made anew."""
    return SETTINGS.sub(lambda match: match[1] + settings_table(match[2], match[3]) + match[4], page)


def settings_table(file: str, name: str) -> str:
    """Return the table of a settings class."""
    classes = (node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.ClassDef))
    node = next(node for node in classes if node.name == name)
    rows = []
    for item, text in fields(node):
        kind = ast.unparse(item.annotation).removesuffix(" | None")
        rows.append((f"`{ast.unparse(item.target)}`", words_of(kind), shown_default(item, kind), cell(text)))
    return table(("key", "type", "default", "meaning"), rows)


def words_of(kind: str) -> str:
    """Return a setting's type in words."""
    if kind.startswith("Literal["):
        return " or ".join(f'`"{word}"`' for word in ast.literal_eval(kind.removeprefix("Literal")))
    return WORDS[kind]


def shown_default(item: ast.AnnAssign, kind: str) -> str:
    """Return a setting's default as a configuration would write it."""
    if item.value is None:
        return "required"
    if words_of(kind) == "table":
        return "not set"
    value = eval(ast.unparse(item.value), {"__builtins__": {}})  # noqa: S307  # a product of numbers in our source
    if value in (None, (), "", {}):
        return "not set"
    if kind == "Seconds" and value and value % 86_400 == 0:
        return f'`"{value / 86_400:g}d"`'
    if kind == "Seconds":
        return f'`"{value:g}s"`' if value else "`0`"
    if kind == "Size" and value % (1 << 20) == 0:
        return f'`"{value >> 20}MiB"`'
    if kind == "Size" and value % (1 << 10) == 0:
        return f'`"{value >> 10}KiB"`'
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


# The command


def pages() -> dict[Path, str]:
    """Return the text of each page that is made, wholly or in part."""
    made = {
        "reference/api.md": api_page(),
        "reference/contracts.md": contracts_page(),
        "reference/errors.md": errors_page(),
        "reference/commands.md": commands_page(),
        "reference/telemetry.md": telemetry_page(),
    } | dict(hook_pages())
    content = {ROOT / "docs" / path: re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n" for path, text in made.items()}
    for path in (ROOT / "docs").rglob("*.md"):
        if path not in content and SETTINGS.search(path.read_text()):
            content[path] = with_settings(path.read_text())
    return content


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    differing = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if arguments == ["--check"]:
        for path in differing:
            print(f"{path.relative_to(ROOT)} is not what docs/generate.py makes: run it")
        return 1 if differing else 0
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
