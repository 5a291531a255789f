"""Immutable records with named fields, cheap to define, to make and to import.

``attrs`` and ``dataclasses`` both import ``inspect`` and compile several
methods for each class. That costs a command more than reading the secret does,
so the classes that every command needs are built on this base instead
(``docs/adr/0002-records-without-attrs.md`` has the figures).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """A frozen value whose annotated attributes are its fields.

    Fields are given by name; those with a value in the class body are optional.
    Type checkers know the constructor. Two records of one class are equal if
    their fields are. A field's default must itself be immutable.

    Raises:
        TypeError: A field is missing or unknown.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _known: ClassVar[frozenset[str]] = frozenset()
    _required: ClassVar[frozenset[str]] = frozenset()
    _made: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        # inspect.get_annotations would be the documented way, and is the import that this class avoids.
        kinds = cls.__dict__.get("__annotations__", {})  # noqa: RUF063  # see above
        own = [name for name, kind in kinds.items() if "ClassVar" not in str(kind)]
        cls._fields = (*cls._fields, *(name for name in own if name not in cls._fields))
        cls._defaults = cls._defaults | {name: cls.__dict__[name] for name in own if name in cls.__dict__}
        cls._known = frozenset(cls._fields)
        cls._required = cls._known - cls._defaults.keys()
        cls._made = 0
        if "__init__" not in cls.__dict__:
            first: Any = _initialize
            cls.__init__ = first  # type: ignore[method-assign]  # and replaced at the first call

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: use replace() to make a changed copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self._fields)))

    def __repr__(self) -> str:
        content = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({content})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            TypeError: A field is unknown.
        """
        return type(self)(**(self.__dict__ | changes))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and their values, in the order of their definition."""
        return {name: self.__dict__[name] for name in self._fields}


def _initialize(self: Record, **values: Any) -> None:
    """Make the first records of a class; a class that is used often then gets an initializer of its own.

    Compiling one takes as long as a hundred calls of it, and most commands make
    one or two records of a class.
    """
    cls = type(self)
    cls._made += 1
    if cls._made <= _GENERIC_RECORDS and cls._required <= values.keys() <= cls._known:
        self.__dict__.update(cls._defaults)
        self.__dict__.update(values)
        return
    made = _initializer(cls._fields, cls._defaults)
    cls.__init__ = made  # type: ignore[method-assign]  # made to measure
    made(self, **values)  # which says what is wrong with the values, if anything is


_GENERIC_RECORDS = 4


def _initializer(fields: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """Compile a keyword-only initializer; a generic one takes twice the time at each call."""
    parameters = ", ".join(f"{name}=defaults[{name!r}]" if name in defaults else name for name in fields)
    lines = [f"def __init__(self{', *, ' if fields else ''}{parameters}):", " _record = self.__dict__"]
    lines += [f" _record[{name!r}] = {name}" for name in fields]
    namespace: dict[str, Any] = {"defaults": defaults}
    # The text holds nothing but field names, which Python has already accepted as identifiers.
    exec("\n".join(lines), namespace)  # noqa: S102  # as collections.namedtuple does
    return namespace["__init__"]
