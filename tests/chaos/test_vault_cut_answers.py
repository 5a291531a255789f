"""An answer that is cut off, wherever that is, is no answer."""

from __future__ import annotations

from pathlib import Path

from faultproxy import FaultProxy
from openbao import development_server
from strongroom.errors import BackendUnavailableError
from vaults import open_manager

LONGEST = 1600
"""More bytes than both answers have, their headers included."""


def test_a_cut_within_headers_or_content_is_an_outage_and_nothing_else(tmp_path: Path) -> None:
    cut = whole = 0
    with development_server(tmp_path) as server, FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        server.ok("POST", "secret/data/cut/here", {"data": {"value": "here"}})
        with open_manager(f"http://127.0.0.1:{proxy.port}", server.token, attempts=1) as manager:
            for length in range(0, LONGEST, 8):
                proxy.cut_after = length
                try:
                    assert manager.refresh("cut/here").reveal_text() == "here"
                    manager.set("cut/written", "there")
                    whole += 1
                except BackendUnavailableError:
                    cut += 1
                proxy.drop_live()
    assert cut > LONGEST / 8 / 4
    assert whole > 0
