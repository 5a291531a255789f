"""The backend keeps the contract, whether variables come from the process or from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.contracts import Capability
from strongroom.model import SecretName
from strongroom.testing import BackendContract, PluginContract
from strongroom_env.backend import EnvBackend
from strongroom_env.names import variable_of
from strongroom_env.settings import EnvSettings

PREFIX = "KIT_"


class TestPlugin(PluginContract):
    module = "strongroom_env.plugin"
    heavy = ("dotenv", "strongroom_env.backend")


class EnvContract(BackendContract):
    capabilities = frozenset({Capability.LIST})
    holds_binary = False  # a .env file is text; bytes in the environment have a test of their own

    @pytest.fixture
    def failing(self, tmp_path: Path) -> EnvBackend:
        path = tmp_path / "gone.env"
        path.touch()
        backend = EnvBackend.connect(EnvSettings(files=(str(path),)))
        path.unlink()
        return backend


class TestEnvironment(EnvContract):
    @pytest.fixture
    def backend(self) -> EnvBackend:
        return EnvBackend.connect(EnvSettings(prefix=PREFIX))

    @pytest.fixture
    def seed(self, monkeypatch: pytest.MonkeyPatch):
        def put(name: str, content: str) -> SecretName:
            monkeypatch.setenv(PREFIX + variable_of(SecretName(name)), content)
            return SecretName(name)

        return put


class TestFile(EnvContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / ".env"
        path.touch()
        return path

    @pytest.fixture
    def backend(self, path: Path) -> EnvBackend:
        return EnvBackend.connect(EnvSettings(files=(str(path),), environment=False))

    @pytest.fixture
    def seed(self, path: Path):
        def put(name: str, content: str) -> SecretName:
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(f"{variable_of(SecretName(name))}={quoted(content)}\n")
            return SecretName(name)

        return put


def quoted(content: str) -> str:
    """Write a value as .env files have it: bare where that is exact, else in double quotes."""
    if content and content == content.strip() and not set(content) & set("\r\n#") and content[0] not in "'\"":
        return content
    escaped = content.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'
