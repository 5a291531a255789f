"""What the security page states is what the code does, as far as a test can hold it."""

import re
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path

import pytest

import strongroom_agent.callers
import strongroom_agent.sessions
import strongroom_agent.tokens
import strongroom_audit_jsonl.keys
import strongroom_audit_jsonl.lines
import strongroom_local.backend
import strongroom_local.digest
import strongroom_local.encoding
import strongroom_local.header
import strongroom_local.keyrings
import strongroom_local.keys
import strongroom_local.messages
import strongroom_local.named_keys

from _workspace import ROOT, distributions, metadata
from strongroom import generators
from strongroom.audit import buffer
from strongroom.telemetry.spans import Telemetry
from strongroom_local.header import KeyKind
from strongroom_local.settings import MAX_ITERATIONS, MIN_ITERATIONS

PAGE = ROOT / "docs/security.md"
OTHERS = sorted((ROOT / "docs/explanation").glob("*.md"))

# What may only be said to be denied: a claim would need somebody outside who has checked it.
CLAIMS = re.compile(
    r"certif(?:ied|ication)|accredit\w*|audited by|FIPS[- ]140|FIPS[- ]validated|validated|complian\w*|common criteria|"
    r"unbreakable|military[- ]grade|bank[- ]grade|zero[- ]knowledge|quantum[- ]safe",
    re.IGNORECASE,
)
DENIALS = re.compile(r"\bno\b|\bnot\b|\bnone\b|\bwhether\b|\bneither\b", re.IGNORECASE)


def rows(section: str) -> dict[str, str]:
    """Return the rows of the table below a heading of the page, by their first cell."""
    _, _, rest = PAGE.read_text().partition(f"\n## {section}\n")
    assert rest, f"the page has no section {section!r}"
    lines = rest.partition("\n## ")[0].splitlines()
    cells = [line.strip("|").split(" | ") for line in lines if line.startswith("|")]
    return {first.strip(): " | ".join(others) for first, *others in cells}


def power(number: int) -> str:
    """Write a power of two as the page does."""
    assert number & (number - 1) == 0
    return f"2^{number.bit_length() - 1}"


def mebibytes(number: int) -> str:
    assert number % 2**20 == 0
    return f"{number // 2**20} MiB"


LENGTHS = {
    "all that the local store seals": (
        f"key {strongroom_local.header.DATA_KEY_SIZE} bytes",
        f"IV {strongroom_local.encoding.NONCE_SIZE} bytes",
        f"tag {strongroom_local.encoding.TAG_SIZE} bytes",
        f"a warning at {power(strongroom_local.digest.WARN_AT)} ",
        f"the end at {power(strongroom_local.digest.REFUSE_AT)};",
        f"at most {mebibytes(strongroom_local.backend.MAX_VALUE_BYTES)}",
    ),
    "master key to root key": (
        f"salt {strongroom_local.header.SALT_SIZE} bytes",
        f"{KeyKind.KEY.default_iterations:,} iterations for a random key",
        f"{KeyKind.PASSPHRASE.default_iterations:,} for a passphrase",
        f"fewer than {MIN_ITERATIONS:,} or more than {MAX_ITERATIONS:,}",
        f"{strongroom_local.keys.MASTER_KEY_SIZE} bytes",
    ),
    "messages under a named key": (
        f"salt of {strongroom_local.messages._SALT_SIZE} bytes",
        f"at most {mebibytes(strongroom_local.named_keys.MAX_PLAINTEXT_BYTES)} each",
    ),
    "signatures of a named key": (
        f"seed {strongroom_local.keyrings.KEY_SIZE} bytes",
        f"signature {strongroom_local.messages.SIGNATURE_SIZE} bytes",
    ),
    "seals and head file of the trail": (f"key of at least {strongroom_audit_jsonl.keys.KEY_BYTES} bytes",),
    "ids in traces": (f"cut to {len(Telemetry().secret_id('db/password'))} hexadecimal digits",),
    "tokens of the agent": (
        f"{strongroom_agent.tokens.BYTES} bytes, written as base64url",
        f"at least {strongroom_agent.callers.LEAST_TOKEN_BYTES} characters",
    ),
    "a session of the dashboard": (
        f"{strongroom_agent.sessions._BYTES} bytes",
        f"after {strongroom_agent.sessions.IDLE_SECONDS / 60:.0f} minutes without use",
        f"after {strongroom_agent.sessions.LONGEST_SECONDS / 3600:.0f} hours",
    ),
    "values that `rotate` makes": (
        f"{generators.DEFAULT_BYTES} bytes unless said otherwise",
        f"at least {generators.LEAST_BYTES}",
        f"at least {generators.LEAST_ENTROPY:.0f} bits of entropy",
    ),
}


@pytest.mark.parametrize("use", LENGTHS)
def test_lengths_and_limits_are_those_of_the_code(use: str) -> None:
    row = rows("Algorithms, lengths and limits")[use]
    assert [stated for stated in LENGTHS[use] if stated not in row] == []


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("the local store, with states, named keys, copies and journal", strongroom_local.encoding.FORMAT),
        ("the audit file", strongroom_audit_jsonl.lines.FORMAT),
    ],
)
def test_the_formats_have_the_numbers_of_the_code(what: str, number: int) -> None:
    assert rows("Formats on disk")[what].startswith(f"{number} |")


def test_the_window_of_the_trail_is_that_of_the_code() -> None:
    assert f"**Cache hits wait up to {buffer.WINDOW_SECONDS * 1000:.0f} ms**" in PAGE.read_text()


def test_what_is_installed_is_what_the_distributions_require() -> None:
    table = rows("Supply chain")
    stated = {name.strip("`"): set(re.findall(r"`([\w.-]+)`", others)) for name, others in table.items()}
    required = {}
    for folder in distributions():
        project = metadata(folder)["project"]
        names = {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in project.get("dependencies", [])}
        required[project["name"]] = names - {"strongroom"}
    assert {name: stated[name] for name in required} == required
    assert set(stated) - set(required) == {"distribution", "---"}


def named_paths(page: Path) -> set[str]:
    """Return what a page names as a place in the repository."""
    return set(re.findall(r"`((?:core|plugins|tests|docs|script)/[\w./-]+(?:::\w+)?)`", page.read_text()))


@pytest.mark.parametrize("page", [PAGE, *OTHERS], ids=lambda page: page.name)
def test_the_places_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for named in named_paths(page):
        path, _, function = named.partition("::")
        place = ROOT / path
        if not place.exists() or (function and f"def {function}(" not in place.read_text()):
            missing.append(named)
    assert missing == []


def test_each_promise_names_what_shows_it() -> None:
    table = rows("Promises, and what shows them")
    promises = {promise: cells for promise, cells in table.items() if promise not in {"promise", "---"}}
    assert promises
    assert [promise for promise, cells in promises.items() if not re.search(r"`[\w/-]*tests/[\w/]+\.py", cells)] == []


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences, headings and cells of a page, without code and addresses."""
    prose = re.sub(r"^ *(`{3,}).*?^ *\1|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n\s*\n|\n(?=[-|#]|\d+\. )", prose):
        yield from re.split(r"(?<=[.;:!?|])\s+", " ".join(paragraph.split()))


def claims(text: str) -> list[str]:
    return [each for each in sentences(text) if CLAIMS.search(each) and not DENIALS.search(each)]


@pytest.mark.parametrize("page", ["docs/security.md", "SECURITY.md", "README.md", "core/README.md"])
def test_no_certification_is_claimed(page: str) -> None:
    assert claims((ROOT / page).read_text()) == []


@pytest.mark.parametrize(
    "claim",
    [
        "It is certified. No value is logged.",
        "The store is FIPS-validated.",
        "- fully compliant with PCI DSS\n- not slow",
        "## Certified security",
        "It was audited by somebody.",
    ],
)
def test_a_claim_would_be_found(claim: str) -> None:
    assert len(claims(claim)) == 1


# Binding is left out: urllib3 binds a socket at ::1 while it is imported, to find out whether there is IPv6.
WATCHED = """
import importlib, sys
modules = sys.argv[1:]
seen = []
WATCH = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
         "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.Request")
sys.addaudithook(lambda event, arguments: seen.append(event) if event in WATCH else None)
for name in modules:
    importlib.import_module(name)
print(*seen)
import socket
try:
    socket.getaddrinfo("127.0.0.1", 9)
finally:
    print(*seen)
"""


def modules_of(folder: Path) -> Iterator[str]:
    source = folder / "src"
    for file in sorted(source.rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        # What pytest alone imports is not part of the product; __main__ runs the command.
        if "testing" not in parts and "scaffold" not in parts and parts[-1] != "__main__":
            yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)
def test_importing_opens_no_connection_and_starts_no_program(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *modules_of(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\n")[:2]
    assert (first, second) == ("", "socket.getaddrinfo")  # the second: what watches would have seen it
