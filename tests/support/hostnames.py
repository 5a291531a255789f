"""Host names for tests with hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)

HOSTS = st.builds(".".join, st.lists(_LABELS, min_size=1, max_size=6)).filter(
    lambda host: not host.rpartition(".")[2].isdigit()
)
