"""Imports texts into a backend that keeps what it has in a file, and gives up when it is told to."""

from __future__ import annotations

import json

from typing import Any

from strongroom.cli.main import main

# Like the backend in memory, but it keeps what it has in a file, and gives up when it is told to.
PLUGIN = """
    import json, os
    from strongroom.contracts import (
        Backend, BackendSpec, Capability, DeleteResult, FilePath, ListResult, ReadResult, Record, WriteResult,
    )
    from strongroom.errors import BackendUnavailableError, SecretNotFoundError, VersionConflictError
    from strongroom.hookspecs import hookimpl
    from strongroom.model import ABSENT, SecretName, SecretValue

    class Settings(Record):
        path: FilePath
        gives_up_at: str = ""
        limit: int = 100

    class Drawer(Backend):
        def __init__(self, settings):
            self.address = "drawer"
            self.settings = settings
            self.max_value_bytes = settings.limit

        def content(self):
            if not os.path.exists(self.settings.path):
                return {}
            with open(self.settings.path) as file:
                return json.load(file)

        def read(self, request):
            content = self.content()
            if request.name not in content:
                raise SecretNotFoundError(f"no {request.name}")
            return ReadResult(value=SecretValue(content[request.name]), version="1")

        def write(self, request):
            content = self.content()
            if request.name == self.settings.gives_up_at:
                raise BackendUnavailableError("the drawer is stuck", hint="pull")
            if request.expect_version is ABSENT and request.name in content:
                raise VersionConflictError("it is there", expected="absent", found="1")
            content[request.name] = request.value.reveal_text()
            with open(self.settings.path, "w") as file:
                json.dump(content, file)
            return WriteResult(version="1")

        def list(self, request):
            names = map(SecretName, sorted(self.content()))
            return ListResult(names=tuple(name for name in names if name.is_below(request.prefix)))

    @hookimpl
    def strongroom_backends():
        parts = [Capability.WRITE, Capability.LIST]
        for name, capabilities in (("drawer", [*parts, Capability.CHECK_AND_SET]), ("plain-drawer", parts)):
            yield BackendSpec(
                name=name, summary="", settings=Settings, open=Drawer, capabilities=frozenset(capabilities)
            )
"""


class Importer:
    """Imports texts into a drawer, in this process."""

    def __init__(self, folder: Any, capture: Any) -> None:
        self.folder = folder
        self.path = folder / "drawer.json"
        self._capture = capture
        self.configure()

    def configure(self, kind: str = "drawer", more: str = "", tables: str = "") -> None:
        head = 'audit = "none"\nprincipal = "tester"\n[backends.main]\npath = "drawer.json"\n'
        (self.folder / "strongroom.toml").write_text(f'{head}type = "{kind}"\n{more}\n{tables}\n')

    @property
    def content(self) -> dict[str, str]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def put(self, **content: str) -> None:
        self.path.write_text(json.dumps(content))

    def __call__(self, text: str, *options: str, file: str = "some.env") -> tuple[int, str, str]:
        """Return status, output and problems."""
        (self.folder / file).write_text(text)
        return self.run(file, *options)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run an import, and return status, output and problems."""
        status = main(["import", *arguments])
        written = self._capture.readouterr()
        return status, written.out, written.err
