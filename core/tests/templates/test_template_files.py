"""What was read is remembered, so that a change of it is seen."""

from __future__ import annotations

import os

from pathlib import Path

import pytest

from strongroom.errors import ConfigurationError
from strongroom.templates.files import Files


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A template."""
    path = tmp_path / "page.j2"
    path.write_text("text")
    return path


def test_nothing_has_changed_at_first(page: Path) -> None:
    files = Files()
    assert files.read(str(page)).text == "text"
    assert not files.has_changed()


def test_another_file_of_the_same_size_and_time_is_a_change(page: Path, tmp_path: Path) -> None:
    files = Files()
    files.read(str(page))
    other = tmp_path / "other"
    other.write_text("TEXT")
    os.utime(other, ns=(page.stat().st_atime_ns, page.stat().st_mtime_ns))
    other.replace(page)
    assert files.has_changed()


def test_what_is_included_counts_also_if_it_was_not_there(tmp_path: Path) -> None:
    files = Files()
    assert files.included(str(tmp_path), "part.j2") is None
    assert not files.has_changed()
    (tmp_path / "part.j2").write_text("x")
    assert files.has_changed()
    again = Files()
    found = again.included(str(tmp_path), "part.j2")
    assert found is not None
    assert (found.text, found.label) == ("x", str(tmp_path / "part.j2"))
    (tmp_path / "part.j2").unlink()
    assert again.has_changed()


def test_a_link_to_another_file_is_a_change(page: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.j2"
    link.symlink_to("page.j2")
    (tmp_path / "next.j2").write_text("next")
    files = Files()
    assert files.read(str(link)).text == "text"
    link.unlink()
    link.symlink_to("next.j2")
    assert files.has_changed()


def test_a_mark_that_an_editor_puts_before_the_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "marked.j2").write_bytes(b"\xef\xbb\xbftext\n")
    files = Files()
    included = files.included(str(tmp_path), "marked.j2")
    assert included is not None
    assert files.read(str(tmp_path / "marked.j2")).text == included.text == "text\n"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.j2 cannot be read: No such file"):
        Files().read(str(tmp_path / "no.j2"))
    (tmp_path / "latin.j2").write_bytes(b"a\nb\n\xff")
    with pytest.raises(ConfigurationError, match=r"latin\.j2, line 3 is not UTF-8"):
        Files().read(str(tmp_path / "latin.j2"))
