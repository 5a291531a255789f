"""A Kubernetes API that knows the tokens of service accounts, for a Vault that asks it about them."""

from __future__ import annotations

import base64
import json
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def account_token(namespace: str, name: str, audience: str) -> str:
    """Return a token like those that Kubernetes puts into a pod; nobody but this API checks it."""
    content = {
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "aud": [audience],
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000,
        "exp": 4_000_000_000,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": f"uid-of-{name}"}},
    }
    parts: list[dict[str, Any]] = [{"alg": "RS256", "typ": "JWT"}, content, {"signature": "none"}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["spec"]
        body = asked["token"].split(".")[1]
        content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        user = {"username": content["sub"], "uid": content["kubernetes.io"]["serviceaccount"]["uid"]}
        review = {"authenticated": True, "audiences": content["aud"], "user": user}
        answer = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": review})
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def token_reviews() -> Iterator[str]:
    """Start the API, lend its address, and stop it in the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
