"""What the first version wrote is read, changed and verified by this one: stores, audit trails, configurations."""

import base64
import hashlib
import json
import shutil
import stat

from pathlib import Path

import pytest

import strongroom

from _workspace import ROOT
from commandline import Cli

DATA = ROOT / "tests/data/0.1"
DIGEST = "60e7d8be91159b18a9fd2b5aa766091c59084304d78fd9f4c8bb590a7bc6f244"
PHRASE = "of no use to anybody but this test"


def closed(folder: Path) -> Path:
    """Give a copy of the data the file modes that it was written with; git keeps none but the bit to execute."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR)
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of what the first version wrote."""
    return closed(Path(shutil.copytree(DATA, tmp_path / "old")))


@pytest.fixture
def keyed(old: Path, home: Path) -> Cli:
    """The command, in the folder of the store with a key file."""
    return Cli(old / "keyed", home)


@pytest.fixture
def phrased(old: Path, home: Path) -> Cli:
    """The command, in the folder of the store behind a passphrase."""
    return Cli(old / "phrased", home)


def values() -> dict[tuple[str, str], bytes]:
    """Return what the first version answered, by name and version."""
    lines = [line.split(" ") for line in (DATA / "values.txt").read_text().splitlines()]
    return {(name, version): base64.b64decode(value) for name, version, value in lines}


def told(cli: Cli, *arguments: str, **variables: str) -> str:
    """Return what a command prints that must succeed."""
    done = cli(*arguments, env=variables)
    assert done.status == 0, done.stderr
    return done.stdout


def sealed_events(cli: Cli, *arguments: str) -> int:
    """Return how many events the trail has, all of which must be sealed."""
    report = json.loads(told(cli, "audit", "verify", "--json", *arguments))
    assert report["state"] == "sealed"
    assert report["findings"] == []
    return int(report["events"])


def test_what_the_first_version_wrote_is_never_edited() -> None:
    """An edit would make it what no version has written, so the tests below would show nothing."""
    digest = hashlib.sha256()
    for file in sorted(path for path in DATA.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(DATA).as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    assert digest.hexdigest() == DIGEST


def test_every_version_of_every_secret_reads_as_the_first_version_read_it(old: Path) -> None:
    expected = values()
    with strongroom.open(str(old / "keyed/strongroom.toml")) as manager:
        assert manager.list() == sorted({name for name, _ in expected})
        found = {(name, version): manager.get(name, version=version).reveal() for name, version in expected}
        current = {name: str(manager.get(name).version) for name, _ in expected}
    assert found == expected
    assert current["counted/six"] == "6"
    assert current["rotated/text"] == "3"


def test_deleted_secrets_are_still_deleted_and_not_merely_absent(keyed: Cli) -> None:
    done = keyed("get", "deleted/one")
    assert done.status == 3
    assert "was deleted" in done.stderr
    assert told(keyed, "get", "deleted/again") == "after"


def test_old_policies_decide_as_they_did(keyed: Cli) -> None:
    assert told(keyed, "--as", "reader", "get", "text/plain") == "a value of letters"
    assert keyed("--as", "reader", "get", "bytes/short").status == 4
    assert told(keyed, "--as", "reader", "list").split() == ["text/empty", "text/object", "text/plain", "text/zürich"]


def test_the_store_and_its_trail_verify_before_and_after_they_are_written_to(keyed: Cli) -> None:
    head = (DATA / "noted-head.txt").read_text().strip()
    before = sealed_events(keyed, "--head", head)
    assert json.loads(told(keyed, "local", "verify", "--json"))["problems"] == []
    done = keyed("set", "text/plain", stdin="written by this version")
    assert done.status == 0, done.stderr
    told(keyed, "rotate", "rotated/text", "--encoding", "hex")
    told(keyed, "delete", "imported/B")
    assert told(keyed, "get", "text/plain") == "written by this version"
    assert told(keyed, "get", "text/plain", "--version", "1") == "a value of letters"
    assert json.loads(told(keyed, "local", "verify", "--json"))["problems"] == []
    assert sealed_events(keyed, "--head", head) > before


def test_one_report_covers_what_both_versions_recorded(keyed: Cli) -> None:
    before = _reads(keyed, "text/plain")
    told(keyed, "get", "text/plain")
    assert before > 0
    assert _reads(keyed, "text/plain") == before + 1


def _reads(cli: Cli, name: str) -> int:
    report = json.loads(told(cli, "audit", "report", "--name", name, "--json"))
    return int(report["by_name"][name]["reads"])


def test_keys_of_an_old_store_are_changed_and_everything_is_encrypted_anew(keyed: Cli) -> None:
    told(keyed, "rekey")
    told(keyed, "rekey", "--reencrypt")
    assert json.loads(told(keyed, "local", "verify", "--json"))["problems"] == []
    with strongroom.open(str(keyed.folder / "strongroom.toml")) as manager:
        found = {(name, version): manager.get(name, version=version).reveal() for name, version in values()}
    assert found == values()
    sealed_events(keyed)


@pytest.mark.parametrize("backup", ["early", "late"])
def test_an_old_backup_is_restored_with_the_key_of_its_time(keyed: Cli, backup: str) -> None:
    kept = keyed.folder.parent
    (kept / f"{backup}-backup.db").replace(keyed.folder / "store.db")
    if backup == "early":
        assert keyed("get", "text/plain").status == 8
        (kept / "early-opener.txt").replace(keyed.folder / "opener.txt")
    assert told(keyed, "get", "text/plain") == "a value of letters"
    assert told(keyed, "get", "counted/six", "--version", "3") == "number 3"
    assert json.loads(told(keyed, "local", "verify", "--json"))["problems"] == []


def test_a_backup_of_an_old_store_opens_in_its_place(keyed: Cli) -> None:
    told(keyed, "local", "backup", "copy.db")
    (keyed.folder / "copy.db").replace(keyed.folder / "store.db")
    assert told(keyed, "get", "text/zürich") == "Grüße aus Zürich 🔑\nsecond line\n"


def test_the_store_behind_a_passphrase_opens_and_takes_a_new_one(phrased: Cli) -> None:
    old, new = {"FIXTURE_PHRASE": PHRASE}, {"NEW_PHRASE": "another one that is long enough"}
    assert told(phrased, "get", "only/one", **old) == "its second version"
    assert told(phrased, "get", "only/one", "--version", "1", **old) == "behind a passphrase"
    told(phrased, "rekey", "--new-passphrase-env", "NEW_PHRASE", **old, **new)
    assert phrased("get", "only/one", env=old).status == 8
    assert told(phrased, "get", "only/one", FIXTURE_PHRASE=new["NEW_PHRASE"]) == "its second version"
    sealed_events(phrased)


@pytest.mark.parametrize("name", ["keyed", "phrased"])
def test_doctor_finds_nothing_wrong_with_an_old_folder(old: Path, home: Path, name: str) -> None:
    report = json.loads(told(Cli(old / name, home), "doctor", "--json", FIXTURE_PHRASE=PHRASE))
    assert [check for check in report["checks"] if check["state"] == "problem"] == []
