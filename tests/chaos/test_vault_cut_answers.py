"""An answer that is cut off, wherever that is, is no answer."""

from __future__ import annotations

import threading
import time

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faultproxy import FaultProxy
from openbao import development_server
from strongroom.errors import BackendUnavailableError
from vaults import ALWAYS_ASKED, open_manager

LONGEST = 1600
"""More bytes than both answers have, their headers included."""
HEADERS = 400
"""More bytes than an answer's headers have."""
SECRETS = 8


def test_a_cut_within_headers_or_content_is_an_outage_and_nothing_else(tmp_path: Path) -> None:
    cut = whole = 0
    with development_server(tmp_path) as server, FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        server.ok("POST", "secret/data/cut/here", {"data": {"value": "here"}})
        with open_manager(
            f"http://127.0.0.1:{proxy.port}", server.token, attempts=1, resilience=ALWAYS_ASKED
        ) as manager:
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


def test_a_cut_within_the_headers_of_a_long_answer_is_an_outage(tmp_path: Path) -> None:
    """The server sends it in chunks, and says so at the end of its headers."""
    content = "x" * 8000
    with development_server(tmp_path) as server, FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        server.ok("POST", "secret/data/long", {"data": {"value": content}})
        with open_manager(
            f"http://127.0.0.1:{proxy.port}", server.token, attempts=1, resilience=ALWAYS_ASKED
        ) as manager:
            for length in range(HEADERS):
                proxy.cut_after = length
                with pytest.raises(BackendUnavailableError):
                    manager.refresh("long")
                proxy.drop_live()
            proxy.heal()
            assert manager.refresh("long").reveal_text() == content


def test_whatever_happens_to_connections_no_answer_reaches_another_question(tmp_path: Path) -> None:
    ended = threading.Event()
    with development_server(tmp_path) as server, FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        contents = {f"mixed/{number}": f"{number}" * (1 + 800 * number) for number in range(SECRETS)}
        for name, content in contents.items():
            server.ok("POST", f"secret/data/{name}", {"data": {"value": content}})
        with open_manager(
            f"http://127.0.0.1:{proxy.port}", server.token, timeout="400ms", resilience=ALWAYS_ASKED
        ) as manager:

            def read_all_the_time(number: int) -> int:
                name, count = f"mixed/{number}", 0
                while not ended.is_set():
                    try:
                        assert manager.refresh(name).reveal_text() == contents[name]
                        count += 1
                    except BackendUnavailableError:
                        pass
                return count

            with ThreadPoolExecutor(SECRETS) as threads:
                answers = [threads.submit(read_all_the_time, number) for number in range(SECRETS)]
                for fault in ({}, {"latency": 0.15}, {}, {"bandwidth": 3000}, {}, {"cut_after": 300}, {}):
                    for what, how in fault.items():
                        setattr(proxy, what, how)
                    for _ in range(20):
                        time.sleep(0.04)
                        proxy.drop_live()
                    proxy.heal()
                ended.set()
                assert all(answer.result() for answer in answers)
