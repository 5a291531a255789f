"""Which of the project's own distributions offers what, to say which one is missing here.

A name that a configuration asks for is not the name of a distribution: `jsonl` comes with `strongroom-audit-jsonl`, and
whoever is told to install something else gets a stranger's package, or none.
"""

from __future__ import annotations

from typing import Final

OURS: Final = {
    "strongroom.backends": {
        "aws": "strongroom-aws",
        "env": "strongroom-env",
        "local": "strongroom-local",
        "vault": "strongroom-vault",
    },
    "strongroom.cache_policies": {"refresh": "strongroom-cache-refresh"},
    "strongroom.audit_sinks": {
        "jsonl": "strongroom-audit-jsonl",
        "otel": "strongroom-otel",
        "pytest": "strongroom-pytest",
        "syslog": "strongroom-audit-syslog",
    },
    "strongroom.anomaly_detectors": {
        "denied-burst": "strongroom-anomaly",
        "enumeration": "strongroom-anomaly",
        "first-use": "strongroom-anomaly",
        "rate": "strongroom-anomaly",
        "unusual-source": "strongroom-anomaly",
        "unusual-time": "strongroom-anomaly",
    },
    "strongroom.rotators": {
        "command": "strongroom-rotate-command",
        "postgres": "strongroom-rotate-postgres",
        "postgres-single": "strongroom-rotate-postgres",
        "tls": "strongroom-rotate-tls",
        "vault-pki": "strongroom-vault",
    },
    "strongroom.telemetry_exporters": {"otel": "strongroom-otel"},
    "strongroom.commands": {"agent": "strongroom-agent", "mcp": "strongroom-mcp"},
}
"""The distribution of each name that is offered, by its entry-point group; what the core offers itself is left out."""
