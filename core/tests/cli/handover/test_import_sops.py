"""What SOPS decrypts is imported; what it has encrypted is refused, and the way is shown."""

from __future__ import annotations

import os
import threading

from pathlib import Path

import pytest

from importers import Importer

FOLDER = Path(__file__).with_name("sops")
FILES = sorted(file.name for file in FOLDER.iterdir() if file.suffix != ".md")


@pytest.mark.parametrize("file", FILES)
def test_an_encrypted_file_is_refused_whole(importer: Importer, file: str) -> None:
    status, _, problems = importer((FOLDER / file).read_text(), "--flatten", "--stringify", file=file)
    assert (status, importer.content) == (2, {})
    assert f"{file} is encrypted by SOPS, and nothing of it was used" in problems
    assert f"{file} | strongroom import - --format " in problems
    assert "ENC[" not in problems


@pytest.mark.parametrize("file", FILES)
def test_it_is_recognised_where_the_format_is_wrong(importer: Importer, file: str) -> None:
    """A stream has no name to go by, so it is read as a .env file unless told otherwise."""
    status, _, problems = importer((FOLDER / file).read_text(), file="stream")
    assert (status, importer.content) == (2, {})
    assert "stream is encrypted by SOPS" in problems


def test_the_hint_fits_the_file(importer: Importer) -> None:
    _, _, problems = importer((FOLDER / "age.yaml").read_text(), file="age.yaml")
    assert "sops decrypt age.yaml | strongroom import - --format yaml --flatten" in problems
    _, _, problems = importer((FOLDER / "age.env").read_text(), file="age.env")
    assert "sops decrypt --output-type json age.env | strongroom import - --format json --flatten" in problems


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a: b\nsops:\n  mac: ''\n  version: 3.11.0\n", "some.yaml"),
        ('{"a": "b", "c": {"d": {"e": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]"}}}', "some.json"),
        ("A=b\nexport C='ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]'\n", "some.env"),
    ],
)
def test_a_part_of_the_marks_is_enough(importer: Importer, text: str, file: str) -> None:
    assert importer(text, "--flatten", file=file)[0] == 2
    assert importer.content == {}


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sops: a word\nb: 'it says ENC[AES256_GCM,data:'\n", "some.yaml"),
        ('{"sops": {"version": "a text"}, "mac": "x"}', "some.json"),
        ("SOPS_TOKEN=x\n# see ENC[AES256_GCM,data:\n", "some.env"),
    ],
)
def test_what_only_speaks_of_sops_is_imported(importer: Importer, text: str, file: str) -> None:
    assert importer(text, "--flatten", file=file)[0] == 0
    assert importer.content != {}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('db:\n    user: shop\n    password: s3cret\nport: "5432"\n', "yaml"),
        ('{\n\t"db": {\n\t\t"user": "shop",\n\t\t"password": "s3cret"\n\t},\n\t"port": "5432"\n}', "json"),
        ("db/user=shop\n", ""),
    ],
)
def test_a_decrypted_file_is_read_from_a_named_pipe(importer: Importer, text: str, form: str) -> None:
    """``sops exec-file`` hands its program the name of such a pipe."""
    pipe = importer.folder / "tmp-file"
    os.mkfifo(pipe)
    text = text if form else "DB=shop\n"
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    status, _, _ = importer.run(str(pipe), *(["--format", form, "--flatten"] if form else []))
    writer.join()
    assert status == 0
    assert importer.content == (
        {"db/user": "shop", "db/password": "s3cret", "port": "5432"} if form else {"DB": "shop"}
    )
