"""With the public instrumentations switched on, nothing that anybody traces or measures tells of a secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from collector import receiver
from commandline import clean_environment
from moto_server import emulator
from openbao import development_server
from pkis import new_authority
from receivers import Server as Hooks
from strongroom.telemetry import ATTRIBUTES, METRICS
from vaults import approle

WORKER = Path(__file__).parents[1] / "support" / "instrumented.py"
NAMES = ["zq9name/first", "zq9name/second"]
ROTATED = "zq9name/certificate"
VALUE = "zq9-marker-d2b07c44"
HOOK_KEY = "zq9-hook-key-of-32-characters-at-least"
INSTRUMENTED = ("botocore", "click", "requests", "sqlite3", "threading", "urllib", "urllib3")
ITS_OWN = ["requests/callback", "requests/end", "requests/itself", "requests/list", "sqlite3", "urllib", "urllib3"]
"""What the program does besides using strongroom, also in the middle of that."""
Running = Callable[..., dict[str, Any]]


@pytest.fixture
def running(tmp_path: Path, home: Path) -> Iterator[Running]:
    """Return a function that runs the program with one manager's configuration, and returns what was traced."""
    for each in INSTRUMENTED:
        if find_spec(f"opentelemetry.instrumentation.{each}") is None:
            # They are other people's, and no distribution of ours requires them.
            pytest.skip(f"needs opentelemetry-instrumentation-{each}: install it")
    hooks, control = Hooks(), Hooks()
    webhook = {"type": "webhook", "url": hooks.url("/zq9hook"), "secret": HOOK_KEY}
    with receiver() as (url, kept):

        def run(config: dict[str, Any], **more: Any) -> dict[str, Any]:
            sinks = [{"type": "otel", "endpoint": url}]
            common = {"audit": sinks, "announcements": [webhook], "watch": {"every": "1s"}, "alerts": []}
            manager = {"config": {**common, **config}, **more}
            asked = {"control": control.url(""), "names": NAMES, "value": VALUE, "managers": [manager]}
            environment = clean_environment(home, AWS_ACCESS_KEY_ID="AKIAZQ9", AWS_SECRET_ACCESS_KEY="zq9-aws-key")
            done = subprocess.run(
                [sys.executable, str(WORKER), json.dumps(asked)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            # That the sink was used, and saw the names that spans must not show.
            assert NAMES[0] in {event.key for event in kept.events()}
            found: dict[str, Any] = json.loads(done.stdout)
            return found | {"hooks": [body.decode() for _, _, body in hooks.seen]}

        yield run
    for server in (hooks, control):
        server.shutdown()
        server.server_close()


def check(told: dict[str, Any], *backend_types: str) -> None:
    """Look at everything that was traced and measured, whoever did it."""
    others = [each for each in told["spans"] if each["scope"] != "strongroom"]
    # The program's own, and no more: so the instrumentations work, and see nothing of ours.
    assert sorted(re.findall(r"by-([a-z0-9/]+)", each["whole"])[-1] for each in others) == ITS_OWN
    own = [each for each in told["spans"] if each["scope"] == "strongroom"]
    assert {each["name"] for each in own} >= {"strongroom.read", "strongroom.write", "strongroom.list"}
    assert {each["attributes"].get("strongroom.backend.type") for each in own} >= set(backend_types)
    for span in own:
        assert span["attributes"].keys() <= set(ATTRIBUTES)
    allowed = {metric.name: set(metric.attributes) for metric in METRICS}
    for point in told["metrics"]:
        if point["scope"] == "strongroom":
            assert point["attributes"].keys() <= allowed[point["name"]]
    # Each instrumentation has measured these alone.
    spans = Counter(each["scope"] for each in others)
    foreign = [(point["scope"], json.loads(point["whole"])) for point in told["metrics"]]
    assert all(point.get("count", 1) <= spans[scope] for scope, point in foreign if scope != "strongroom")
    everything = json.dumps(told["spans"]) + json.dumps(told["metrics"])
    for secret in (*NAMES, "zq9name", ROTATED, VALUE, HOOK_KEY, "zq9hook", "zq9-aws-key", "AKIAZQ9"):
        assert secret not in everything


def test_with_a_local_store(running: Running, store: Path) -> None:
    key = {"file": str(store / "master.key")}
    local = {"type": "local", "path": str(store / "secrets.db"), "master_key": key}
    told = running({"backend": "local", "backends": {"local": local}})
    check(told, "local")


def test_with_a_vault_whose_token_is_renewed_and_certificates_rotated(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "bao"
    folder.mkdir()
    with development_server(folder) as server:
        mount = new_authority(server)
        # The role's own policy, and more: its token lives so short that the plugin's thread renews it meanwhile.
        login = approle(server, "zq9role", token_ttl="3s", token_max_ttl="10m")
        rights = 'path "%s" { capabilities = ["create", "read", "update", "delete", "list"] }'
        server.policy("zq9role", "\n".join(rights % path for path in ("secret/*", f"{mount}/*")))
        backend = {"type": "vault", "address": server.address, "auth": login}
        rule = {"rotator": "vault-pki", "role": "web", "common_name": "web.x.test", "mount": mount}
        rule |= {"address": server.address, "auth": {"method": "token", "token": server.token}}
        config = {"backend": "vault", "backends": {"vault": backend}, "rotation": {ROTATED: rule}}
        told = running(config, rotated=ROTATED, renewed=True)
        text = json.dumps(told["spans"]) + json.dumps(told["metrics"])
        assert login["secret_id"] not in text
        assert server.token not in text
        assert mount not in text
    check(told, "vault")
    assert any(each["name"].startswith("strongroom.rotator.") for each in told["spans"])
    assert any(ROTATED in body for body in told["hooks"])


def test_with_aws(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "moto"
    folder.mkdir()
    with emulator(folder) as service:
        backend = {"type": "aws", "region": "eu-central-1", "endpoint": service.url, "account": "123456789012"}
        told = running({"backend": "aws", "backends": {"aws": backend}})
    check(told, "aws")


OUTSIDE_THE_CORE = """
import http.server, json, os, sys, threading
from opentelemetry import trace
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

class Credentials(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        body = {"AccessKeyId": "AKIAZQ9", "SecretAccessKey": "x", "Token": "y", "Expiration": "2999-01-01T00:00:00Z"}
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass

asked, spans, tracers = [], InMemorySpanExporter(), TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracers)
URLLib3Instrumentor().instrument()
server = http.server.HTTPServer(("127.0.0.1", 0), Credentials)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{server.server_port}/zq9role"

from strongroom_vault.login.aws import signed_identity
from strongroom_vault.settings import AuthSettings

thread = threading.Thread(target=signed_identity, args=(AuthSettings(method="aws", role="web"),))
thread.start()
thread.join()
print(json.dumps([asked, [span.name for span in spans.get_finished_spans()]]))
"""


def test_asking_for_credentials_of_aws_in_the_thread_of_a_vaults_token(home: Path) -> None:
    if find_spec("opentelemetry.instrumentation.urllib3") is None:
        # As above.
        pytest.skip("needs opentelemetry-instrumentation-urllib3: install it")
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE_THE_CORE],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["/zq9role"], []]
