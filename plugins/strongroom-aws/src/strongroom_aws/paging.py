"""Following an answer that comes in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from strongroom.errors import BackendError
from strongroom_aws.asking import Asker
from strongroom_aws.replies import Refusal, Reply

MOST: Final = 50_000
"""How many pages are followed: with 500,000 secrets in an account and 100 on a page, ten times what can be there."""


def pages(
    asker: Asker,
    operation: str,
    parameters: dict[str, Any],
    *,
    what: str,
    expects: str = "",
    region: str | None = None,
    end: float | None = None,
) -> Iterator[Reply | Refusal]:
    """Yield each page of an answer, or a refusal, which is the last.

    Each page is a request of its own, which is sent again by itself: what has come is not asked for twice. A page
    may be empty although others follow.

    Args:
        asker: Asks.
        operation: The service's operation.
        parameters: What it takes, without a token.
        what: What is tried, for errors.
        expects: What each page must have.
        region: The region to ask; the usual one unless given.
        end: When it is too late, on the asker's clock.

    Raises:
        BackendError: A page says that a page follows which has come already, or there are more than an account can
            fill: it would never end.
        StrongroomError: What ``Asker.ask`` raises.
    """
    token: str | None = None
    seen: set[str] = set()
    while True:
        asked = parameters if token is None else {**parameters, "NextToken": token}
        answer = asker.ask(operation, asked, what=what, expects=expects, region=region, end=end)
        token = None if isinstance(answer, Refusal) else answer.data.get("NextToken")
        yield answer
        del answer  # it may hold values, and this frame is in the traceback of whatever the next request raises
        if not token:
            return
        if token in seen or len(seen) >= MOST:
            often = "the same page twice" if token in seen else f"more than {MOST} pages"
            raise BackendError(
                f"AWS Secrets Manager gave {often} for {what}",
                hint="see whether something between us and the service answers for it",
            )
        seen.add(token)
