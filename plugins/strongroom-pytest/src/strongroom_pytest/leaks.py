"""Which values are looked for, and what a test's output holds of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.masking import Masker
    from strongroom.model import SecretValue
    from strongroom_pytest.fragments import Fragments

Source = Callable[[], Iterable[tuple[str, "SecretValue"]]]


class LeakWatch:
    """The values that a test's output must not hold.

    The fixture ``strongroom_leaks`` gives one for each test. It knows the values of the throw-away manager and of the
    throw-away configuration; tell it of others with ``watch``.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[SecretValue | bytes | str]] = {}
        self._maskers: dict[str, Masker] = {}
        self._mask: Masker | None = None
        self._fragments: Fragments | None = None
        self._sources: list[Source] = []
        self._noted: dict[str, list[str]] = {}

    def watch(self, value: SecretValue | bytes | str, name: str | None = None) -> None:
        """Look for a value from now on; what was printed before is looked through, too.

        Args:
            value: The value. One of fewer than 4 bytes is never found.
            name: What a failure calls it; ``watched value 1`` and so on unless given. Several values may have one name.
        """
        if name is None:
            name = f"watched value {1 + sum(known.startswith('watched value ') for known in self._values)}"
        values = self._values.setdefault(name, [])
        if value not in values:
            values.append(value)
            self._maskers.pop(name, None)
            self._mask = self._fragments = None

    def names_in(self, text: str | bytes) -> list[str]:
        """Return the names of those values that a text holds in any form, for a test's own checks.

        Args:
            text: For example a file that the code under test has written.
        """
        return sorted(name for name, masker in self._by_name() if masker.finds(text))

    def __repr__(self) -> str:
        """Tell what the values are called, and none of them."""
        return f"<LeakWatch: {', '.join(sorted(self._values)) or 'nothing'}>"

    # What follows is for the plugin.

    def follow(self, source: Source) -> None:
        """Ask for the values of a manager whenever output is looked through."""
        self._sources.append(source)

    def forget(self, source: Source) -> None:
        """Ask a last time: the manager is about to be closed."""
        self.refresh()
        self._sources.remove(source)

    def refresh(self) -> None:
        """Take up the values that the managers have by now."""
        for source in self._sources:
            for name, value in source():
                self.watch(value, name)

    def note(self, place: str, text: str) -> None:
        """Keep output that no report will hold; its place is named if it holds a value."""
        self._noted.setdefault(place, []).append(text)

    def noted(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the places of kept output that holds a value, with the names, and keep it no longer."""
        places, self._noted = self._noted, {}
        for place, texts in places.items():
            names = self.names_in("".join(texts))
            if names:
                yield place, names

    def mask(self, text: str) -> str:
        """Return a text without the values."""
        if self._mask is None:
            from strongroom.masking import Masker

            self._mask = Masker(value for values in self._values.values() for value in values)
        return self._mask.mask_text(text)

    def mask_failure(self, text: str) -> str:
        """Return the report of a failure without the values, and without what pytest has left of them."""
        if not text:
            return text
        if self._fragments is None:
            from strongroom_pytest.fragments import Fragments

            self._fragments = Fragments(_text(value) for values in self._values.values() for value in values)
        return self._fragments.mask(self.mask(text))

    def _by_name(self) -> Iterator[tuple[str, Masker]]:
        from strongroom.masking import Masker

        for name, values in self._values.items():
            if name not in self._maskers:
                self._maskers[name] = Masker(values)
            yield name, self._maskers[name]


def _text(value: SecretValue | bytes | str) -> str:
    if isinstance(value, str):
        return value
    return (value if isinstance(value, bytes) else value.reveal()).decode(errors="backslashreplace")
