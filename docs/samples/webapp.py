"""A small web application that knows nothing of strongroom: its settings are in its environment.

Its health page takes the database's URL apart, as a driver would, and says
whether each part is there; it shows no value.
"""

import json
import os
import sys

from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote, urlsplit


def health() -> dict[str, bool]:
    """Check every setting that the application needs, without connecting anywhere."""
    url = urlsplit(os.environ["DATABASE_URL"])
    key = os.environ["JWT_PUBLIC_KEY"]
    return {
        "database driver": url.scheme == "postgresql",
        "database host and port": bool(url.hostname and url.port),
        "database user and password": bool(url.username and unquote(url.password or "")),
        "database name": len(url.path) > 1,
        "signing key is PEM with its last line feed": key.endswith("-----END PUBLIC KEY-----\n"),
        "OAuth client is JSON": "client_secret" in json.loads(os.environ["OAUTH_CLIENT"]),
        "feature flag is set and empty": os.environ.get("FEATURE_FLAG_TOKEN") == "",
        "no master key in the environment": "STRONGROOM_MASTER_KEY" not in os.environ,
    }


class Page(BaseHTTPRequestHandler):
    """Answers ``/health``."""

    def do_GET(self) -> None:
        """Send the state of each setting as JSON."""
        if self.path != "/health":
            self.send_error(404)
            return
        checks = health()
        self.send_response(200 if all(checks.values()) else 500)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(checks, indent=2).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay silent: the output belongs to whoever started the server."""


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Page)
    print(server.server_port, flush=True)
    sys.stdout.close()
    server.serve_forever()
