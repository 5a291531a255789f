"""What tests of templates share: rendering a text with secrets of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.templates.engine import Engine
from strongroom.templates.files import Files, Source
from strongroom.templates.reads import Reads

Render = Callable[..., str]


@pytest.fixture
def render(open_manager: Any, tmp_path: Path) -> Render:
    """A function that renders a text, in a folder that others can be included from, with the secrets given."""

    def rendered(text: str, secrets: dict[str, str] | None = None) -> str:
        reads = Reads(open_manager(secrets))
        source = Source(label="page.j2", text=text, folder=str(tmp_path))
        return Engine(Files(), reads).render(source).decode()

    return rendered
