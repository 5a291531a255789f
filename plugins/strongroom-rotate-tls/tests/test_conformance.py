"""The rotator keeps its contract in both formats, and its plugin that of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from authorities import authority
from strongroom.model import SecretValue
from strongroom.testing import PluginContract, RotatorContract
from strongroom_rotate_tls.rotator import TlsRotator
from strongroom_rotate_tls.settings import TlsSettings

CA = authority()


class TestPlugin(PluginContract):
    module = "strongroom_rotate_tls.plugin"
    heavy = ("cryptography", "strongroom_rotate_tls.rotator", "ipaddress")


class Contract(RotatorContract):
    """What is the same for both formats."""

    dependent = False
    format: str

    @pytest.fixture
    def rotator(self) -> TlsRotator:
        return TlsRotator(TlsSettings(ca="tls/ca", names=("web.example.com",), format=self.format))

    @pytest.fixture
    def current(self) -> SecretValue:
        return SecretValue("none yet, and of no use to anybody")

    @pytest.fixture
    def read_secret(self) -> Callable[[str], SecretValue]:
        return {"tls/ca": SecretValue(CA.text)}.__getitem__


class TestJson(Contract):
    format = "json"


class TestPem(Contract):
    format = "pem"
