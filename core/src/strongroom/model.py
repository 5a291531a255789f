"""What strongroom talks about: names, values, secrets, principals and audit events."""

from __future__ import annotations

import enum
import hmac
import os
import sys

from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Self

from strongroom._record import Record
from strongroom.errors import InvalidNameError, InvalidValueError, SecretNotFoundError

MAX_NAME_BYTES: Final = 512

# Letters and marks that show nothing (Unicode's default-ignorable ones, UAX #44) or look like a blank.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U00016fe4\U0001d159\U00013441\U00013442"
)
# Controls, format characters (bidirectional and zero-width ones among them), surrogates, private use, what Unicode
# has not assigned, and its two separators of lines and paragraphs.
_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class SecretName(str):
    """The one canonical form of a secret's name.

    Segments joined by ``/``, in Unicode NFC, 1 to 512 bytes of UTF-8. No segment
    is empty, ``.`` or ``..``, no segment starts or ends with a blank, and there is
    no control, bidirectional or zero-width character. A name that only differs by
    its normal form is brought into it; any other deviation is refused, never
    repaired, so that no spelling reaches another secret.

    Args:
        text: The name as a user wrote it.

    Raises:
        InvalidNameError: The text is not such a name.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check a name, or return it as it is if that has been done."""
        if type(text) is cls:
            return text
        if not isinstance(text, str):
            raise InvalidNameError(f"a secret's name is text, not {type(text).__name__}", hint="pass a str")
        # A subclass may show another text than it holds: what is checked is what is kept.
        text = str.__str__(text)
        if not text.isascii():
            text = _normalized(text)
        problem = _name_problem(text)
        if problem:
            raise InvalidNameError(
                f"the name {_shown(text)} {problem}",
                hint="use segments joined by single slashes, such as db/password",
            )
        return super().__new__(cls, text)

    @property
    def segments(self) -> list[str]:
        """The parts between the slashes."""
        return self.split("/")

    def is_below(self, prefix: str) -> bool:
        """Tell whether the name lies below a prefix, compared by whole segments.

        Args:
            prefix: A folder with or without its final slash; empty for the root.
        """
        folder = prefix.rstrip("/")
        return not folder or self.startswith(folder + "/")


def _normalized(text: str) -> str:
    # Imported here: most names are ASCII, and the table is a shared library of its own.
    import unicodedata

    return unicodedata.normalize("NFC", text)


def _shown(text: str) -> str:
    """Return a refused name so that it is safe on a terminal and short."""
    shown = ascii(text)
    return shown if len(shown) <= 80 else shown[:76] + "...'"


def _name_problem(text: str) -> str:
    """Say what is wrong with a name; an empty answer means nothing is."""
    if not text:
        return "is empty"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    if size > MAX_NAME_BYTES:
        return f"has {size} bytes, more than {MAX_NAME_BYTES}"
    if any(map(_is_forbidden, text)):
        return "holds a control, bidirectional or zero-width character"
    for segment in text.split("/"):
        if not segment:
            return "has an empty segment"
        if segment in {".", ".."}:
            return "has a segment that is . or .."
        if segment != segment.strip():
            return "has a segment that starts or ends with a blank"
    return ""


def _is_forbidden(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    # Imported here, as above.
    import unicodedata

    code = ord(character)
    variation_selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
    return variation_selector or character in _INVISIBLE or unicodedata.category(character) in _FORBIDDEN_CATEGORIES


class ValueType(enum.Enum):
    """Whether a value was stored as text or as bytes; it comes back as the same."""

    TEXT = "text"
    BINARY = "binary"


class SecretValue:
    """Exact bytes or exact text that does not show itself.

    Neither ``repr``, ``str``, ``format`` nor an error's text holds the content,
    and it can be neither pickled nor serialised by accident. It leaves by
    ``reveal`` and ``reveal_text`` only. The buffer is overwritten when the last
    holder lets go of it. Equality takes the same time wherever two values differ.

    Args:
        content: Text (stored as UTF-8) or bytes (stored as they are).

    Raises:
        InvalidValueError: The content is of another type, or is text that UTF-8
            cannot express.
    """

    __slots__ = ("__weakref__", "_buffer", "type")

    type: ValueType

    def __init__(self, content: str | bytes | bytearray | memoryview) -> None:
        self.type = ValueType.TEXT if isinstance(content, str) else ValueType.BINARY
        kind = type(content).__name__
        buffer = _bytes_of(content)
        # From here on no local variable holds the content: a traceback may show them.
        del content
        if buffer is None:
            raise InvalidValueError(
                "the text holds half of a surrogate pair, which UTF-8 cannot write"
                if self.type is ValueType.TEXT
                else f"a value is text or bytes, not {kind}",
                hint="encode it yourself, for example with json.dumps",
            )
        self._buffer = buffer

    @classmethod
    def wrap(cls, content: str | bytes | bytearray | memoryview | SecretValue) -> SecretValue | InvalidValueError:
        """Return a value, or the error that says why it cannot be one.

        A caller that then drops its own reference raises the error without the
        content in any of its local variables.
        """
        try:
            return content if isinstance(content, SecretValue) else cls(content)
        except InvalidValueError as error:
            return error.with_traceback(None)

    @classmethod
    def of_bytes(cls, content: bytes, value_type: ValueType) -> Self:
        """Make a value from stored bytes and their type, without checking them again."""
        value = cls.__new__(cls)
        value._buffer = bytearray(content)
        value.type = value_type
        return value

    def reveal(self) -> bytes:
        """Return the exact bytes; text comes in UTF-8."""
        return bytes(self._buffer)

    def reveal_text(self) -> str:
        """Return the exact text.

        Raises:
            InvalidValueError: The bytes are not valid UTF-8 (code ``not_text``).
        """
        try:
            return self._buffer.decode()
        except UnicodeDecodeError:
            pass
        # Raised outside the handler: the decoding error carries the bytes in its arguments.
        raise InvalidValueError(
            "the value is not valid UTF-8 text", code="not_text", hint="read it as bytes with reveal()"
        )

    def __len__(self) -> int:
        """Return the size in bytes."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        """Refuse to be a condition: an empty value is a value."""
        raise TypeError("a secret value has no truth; compare its len() with 0")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        same_content = hmac.compare_digest(self._buffer, other._buffer)
        return same_content and self.type is other.type

    __hash__ = None  # type: ignore[assignment]  # a hash would be a digest of the content

    def __repr__(self) -> str:
        return "<SecretValue: hidden>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret value cannot be pickled; hand over its name and read it where it is needed")

    def __del__(self) -> None:
        buffer = getattr(self, "_buffer", None)
        if buffer:
            buffer[:] = bytes(len(buffer))


def _bytes_of(content: object) -> bytearray | None:
    """Return a content's bytes, or nothing if it has none; it raises nothing that would hold it."""
    if isinstance(content, str):
        try:
            return bytearray(content.encode())
        except UnicodeEncodeError:
            return None
    return bytearray(content) if isinstance(content, bytes | bytearray | memoryview) else None


class Freshness(enum.Enum):
    """Where an answer comes from in time."""

    FRESH = "fresh"
    CACHED = "cached"
    STALE = "stale"
    FALLBACK = "fallback"


class Absent(enum.Enum):
    """The type of ``ABSENT``."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT
"""As an expected version: write only if there is no such secret."""


class SecretVersion(Record):
    """One version of a secret, without its value."""

    version: str
    created: datetime | None = None
    state: str = "current"
    """``current``, ``superseded``, ``deleted`` or ``destroyed``."""
    deleted: datetime | None = None


class Secret:
    """What a read returns: a value with its name, version and origin. It never changes.

    Attributes:
        name: The canonical name.
        value: The value itself, which shows nothing of its content.
        version: The backend's version, an opaque string.
        created: When the version was written, if the backend says so.
        freshness: Whether this came from the backend, the cache or a substitute.
        age: How many seconds ago that was, for a stale or fallback answer; else 0.0.
        backend: The configured name of the backend that holds it.
        place: What answered instead of the backend's usual place, such as ``region eu-west-1``; else ``None``.
    """

    __slots__ = ("_retrieved", "age", "backend", "created", "freshness", "name", "place", "value", "version")

    name: SecretName
    value: SecretValue
    version: str
    created: datetime | None
    freshness: Freshness
    age: float
    backend: str
    place: str | None
    _retrieved: float

    def __init__(
        self,
        name: SecretName,
        value: SecretValue,
        version: str,
        backend: str,
        *,
        retrieved: datetime,
        created: datetime | None = None,
        freshness: Freshness = Freshness.FRESH,
        age: float = 0.0,
        place: str | None = None,
    ) -> None:
        content = (
            ("name", name),
            ("value", value),
            ("version", version),
            ("backend", backend),
            # A number takes half the room of a date, and there is one for each cached secret.
            ("_retrieved", retrieved.timestamp()),
            ("created", created),
            ("freshness", freshness),
            ("age", age),
            ("place", place),
        )
        for slot, part in content:
            object.__setattr__(self, slot, part)

    @property
    def retrieved(self) -> datetime:
        """When the backend answered, in UTC."""
        return datetime.fromtimestamp(self._retrieved, UTC)

    def reveal(self) -> bytes:
        """Return the value's exact bytes."""
        return self.value.reveal()

    def reveal_text(self) -> str:
        """Return the value's exact text.

        Raises:
            InvalidValueError: The value is not valid UTF-8 (code ``not_text``).
        """
        return self.value.reveal_text()

    def field(self, name: str) -> Secret:
        """Return one member of a value that is a JSON object, as a secret of its own.

        A text member keeps its exact text; any other is returned as JSON text.

        Args:
            name: The member's name, exactly as in the object.

        Raises:
            InvalidValueError: The value is not a JSON object (code ``not_json``).
            SecretNotFoundError: It has no such member (code ``field_not_found``).
        """
        return self.with_changes(value=_member(self, name))

    def with_changes(self, **changes: Any) -> Secret:
        """Return a copy with some attributes replaced."""
        content = {slot.lstrip("_"): getattr(self, slot.lstrip("_")) for slot in self.__slots__} | changes
        return Secret(**content)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret never changes: read it again to see a newer version")

    def __repr__(self) -> str:
        place = f" ({self.place})" if self.place is not None else ""
        return f"<Secret {self.name!s} version {self.version} from {self.backend}{place}, {self.freshness.value}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; hand over its name and read it where it is needed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _member(secret: Secret, field: str) -> SecretValue:
    state, value = _look_up(secret.value, field)
    if value is not None:
        return value
    if state == "not_json":
        raise InvalidValueError(
            f"{secret.name} is not a JSON object, so it has no field {field!r}",
            code=state,
            name=secret.name,
            hint="read the whole value",
        )
    raise SecretNotFoundError(
        f"{secret.name} has no field {field!r}", code=state, name=secret.name, hint="check the field's spelling"
    )


def _look_up(value: SecretValue, field: str) -> tuple[str, SecretValue | None]:
    """Return a member, or the code of the error: raised elsewhere, away from the parsed document."""
    import json

    try:
        content = json.loads(value.reveal_text())
    except (ValueError, RecursionError, InvalidValueError):
        return "not_json", None
    if not isinstance(content, dict):
        return "not_json", None
    if field not in content:
        return "field_not_found", None
    member = content[field]
    found = SecretValue.wrap(member if isinstance(member, str) else json.dumps(member, ensure_ascii=False))
    return ("", found) if isinstance(found, SecretValue) else ("not_json", None)


class PrincipalSource(enum.Enum):
    """How it was established who asks."""

    CONFIGURATION = "configuration"
    AS_PRINCIPAL = "as_principal"
    CONTEXT = "context"
    OPERATING_SYSTEM = "operating_system"


class Principal(Record):
    """Who asks, and how that is known."""

    name: str
    source: PrincipalSource


class AuditEvent(Record):
    """One line of the audit trail. It has no field that could hold a value."""

    id: str
    """Links the attempt and the outcome of one operation."""
    timestamp: str
    """UTC in ISO 8601 with microseconds and offset."""
    event: str
    """``get``, ``set``, ``delete``, ``rotate``, ``list``, ``refresh``, ``renew``, ``revoke``, ``release``, ``action``,
    ``opened``, ``closed``, ``gap``, ``degraded``, ``recovering``, ``healthy`` and the like."""
    phase: str = "outcome"
    """``attempt`` or ``outcome``."""
    key: str | None = None
    principal: str | None = None
    principal_source: str | None = None
    on_behalf_of: str | None = None
    """Who took on the principal with ``as_principal``, if somebody did: whom the manager was opened for."""
    user: str | None = None
    """The operating-system user that the process runs as."""
    host: str | None = None
    pid: int | None = None
    result: str = "ok"
    """``ok``, ``queued``, the ``code`` of the error, or what a program says of an ``action`` of its own."""
    cache_hit: bool = False
    source: str | None = None
    """``cache``, ``backend``, ``stale`` or ``fallback``."""
    backend: str | None = None
    version: str | None = None
    duration: float | None = None
    """Seconds, measured on a monotonic clock."""
    rule: str | None = None
    """Which policy rule or detector decided, where one did."""
    trace_id: str | None = None
    request_id: str | None = None
    """The backend's own id of the request, where it has one."""
    count: int | None = None
    """How many names an operation on several touched, or how many events a gap lost."""
    detail: str | None = None
    """A fact about the operation that no other field holds; never a value."""


def current_user() -> str:
    """Return the name of the operating-system user, or its number if it has no name."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "unknown")
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
