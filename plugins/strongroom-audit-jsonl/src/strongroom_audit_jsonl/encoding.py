"""Turns the events of one write into the bytes of one block.

Cache hits come by the hundred thousand a second and differ in number, time and
little else, so what they have in common is encoded once and kept for a while.
"""

from __future__ import annotations

import hashlib
import json

from binascii import hexlify
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from strongroom.contracts import Block, Hits, Reading
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import CHAIN, FORMAT, LONGEST, SEAL, Head, Start, link

# More than chain and seal add to a body.
_CLOSING: Final = 256
_REMEMBERED: Final = 1024


class Encoder:
    """Encodes one block after another, and remembers what hits have in common."""

    def __init__(self) -> None:
        self._origin: object = None
        # By reading: the version and the pair of source and result that the text is for, and the text.
        self._common: dict[Reading, tuple[str | None, tuple[str, str], bytes]] = {}

    def encode(self, start: Start, events: Sequence[AuditEvent], key: SealKey) -> tuple[bytes, Head]:
        """Return a block's bytes and the head that it leads to.

        Args:
            start: Where the block begins.
            events: At least one.
            key: Seals the block.

        Raises:
            AuditError: An event holds something that JSON cannot express, or too much.
        """
        chain = _Chain(start)
        length = len(start.marks) + len(events)
        for mark in start.marks:
            chain.add(mark, seal_with=key if chain.count == length - 1 else None, length=length)
        for part in events.parts if isinstance(events, Block) else (events,):
            if isinstance(part, Hits):
                self._add_hits(chain, part, key, length)
            else:
                for event in part:
                    chain.add(_fields(event), seal_with=key if chain.count == length - 1 else None, length=length)
        return b"".join(chain.text), Head(seq=chain.seq, digest=chain.digest)

    def _add_hits(self, chain: _Chain, hits: Hits, key: SealKey, length: int) -> None:
        """Add all hits; the first line of a file and the last one of a block have more on them."""
        first = 1 if chain.count == 0 and chain.new_file else 0
        last = len(hits.rows) - (1 if chain.count + len(hits.rows) == length else 0)
        for event in hits[:first]:
            chain.add(_fields(event), seal_with=key if length == 1 else None, length=length)
        if self._origin != hits.origin:
            self._origin = hits.origin
            self._common.clear()
        self._add_rows(chain, hits, hits.rows[first:last] if first or last < len(hits.rows) else hits.rows)
        for event in hits[max(first, last) :]:
            chain.add(_fields(event), seal_with=key, length=length)

    def _add_rows(self, chain: _Chain, hits: Hits, rows: Iterable[Any]) -> None:
        """Add plain hits; this loop is most of what recording a hit costs."""
        known, write, sha256 = self._common, chain.text.append, hashlib.sha256
        seq, digest, offset = chain.seq, chain.digest, hits.offset
        second, next_second, form = 0.0, 0.0, b""
        shown, trace_text = None, b""
        for row in rows:
            number, when, reading, version, trace, outcome = row
            try:
                common = known[reading]
            except KeyError:
                common = self._remember(hits, row)
            if common[0] is not version or common[1] is not outcome:
                common = self._remember(hits, row)
            when += offset
            if not second <= when < next_second:
                second = when // 1.0
                next_second = second + 1.0
                form = _form(hits.run_id, second)
            seq += 1
            body = form % (seq, number, (when - second) * 1e6, common[2])
            if trace is not None:
                if trace != shown:
                    shown, trace_text = trace, b',"trace_id":%b' % json.dumps(trace).encode("ascii")
                body += trace_text
            digest = sha256(digest + body).digest()
            write(body)
            write(b',"chain":"%b"}\n' % hexlify(digest))
        chain.count += seq - chain.seq
        chain.seq, chain.digest = seq, digest

    def _remember(self, hits: Hits, row: Any) -> tuple[str | None, tuple[str, str], bytes]:
        if len(self._common) >= _REMEMBERED:
            self._common.clear()
        _, _, reading, version, _, outcome = row
        facts = {name: value for name, value in hits.facts(row).items() if value is not None}
        common = (version, outcome, _dump(facts)[1:])
        self._common[reading] = common
        return common


def _form(run_id: str, second: float) -> bytes:
    """Return what the lines of one second have in common, to be formatted with seq, number, microseconds and the rest.

    Of bytes: formatting these is twice as fast as formatting text and encoding it.
    """
    stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
    return f'{{"seq":%d,"id":"{run_id}%08x","timestamp":"{stamp}%06d+00:00",%b'.encode("ascii")


class _Chain:
    """The lines of one block so far."""

    def __init__(self, start: Start) -> None:
        self.seq, self.digest = start.head.seq, start.head.digest
        self.new_file = start.new_file
        self.count = 0
        self.text: list[bytes] = []

    def add(self, record: dict[str, Any], *, seal_with: SealKey | None, length: int) -> None:
        """Add one record.

        Args:
            record: Its members.
            seal_with: The key, if this is the block's last line.
            length: How many lines the block has.
        """
        self.seq += 1 + record.get("skipped", 0)
        opening: dict[str, Any] = {"seq": self.seq}
        if self.count == 0 and self.new_file:
            opening |= {"format": FORMAT, "prev": self.digest.hex()}
        closing = {"block": length, "key_id": seal_with.id} if seal_with else {}
        body = _dump(opening | record | closing)
        self.digest = link(self.digest, body)
        self.text += [body, CHAIN, self.digest.hex().encode(), b'"']
        self.text += [SEAL, seal_with.seal(self.digest).encode(), b'"}\n'] if seal_with else [b"}\n"]
        self.count += 1


def _fields(event: AuditEvent) -> dict[str, Any]:
    return {name: value for name, value in event.as_dict().items() if value is not None}


def _dump(record: dict[str, Any]) -> bytes:
    """Return a record as ASCII without its closing brace."""
    try:
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise AuditError(
            f"an audit event holds what JSON cannot express ({error})", hint="report this to whoever made the event"
        ) from error
    if len(text) > LONGEST - _CLOSING:
        raise AuditError(f"an audit event takes {len(text)} bytes", hint=f"a line may have {LONGEST} at most")
    return text[:-1].encode("ascii")
