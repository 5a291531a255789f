"""Secrets as a YAML mapping, read strictly: what two readers may take in two ways is refused, with its line.

Texts are what YAML 1.1 and 1.2 both read as texts: ``no``, ``1e3``, ``012`` and dates are not, unless they are quoted.
``!!binary`` gives bytes. Other tags, merge keys and aliases of anything but texts are refused, so that a file is never
larger than it looks. Only the graph of nodes is made; no object is constructed from any tag.
"""

from __future__ import annotations

import binascii
import re

from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.documents import REFUSED, TWICE, Members, Word
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.model import SecretValue

if TYPE_CHECKING:
    import yaml

MAX_REPEATED: Final = 1 << 20
"""How many characters aliases may repeat in a file, all together."""
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final = frozenset({"bool", "int", "float", "timestamp", "value"})
_NUMBER: Final = re.compile(
    r"[-+]?(?:0o[0-7_]+|0x[0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)"
)
"""What YAML 1.2 and other readers take for a number, some of which is text to PyYAML."""
_LETTERS: Final = frozenset("yYnN")
"""Truth values of YAML 1.1 that PyYAML takes as text."""
_BREAK: Final = re.compile("[\x85\u2028\u2029]")
"""What ends a line in YAML 1.1, and is a character like any other in YAML 1.2."""


def parse(content: SecretValue, source: str, *, stringify: bool) -> tuple[Members, list[StrongroomError]]:
    """Return what a YAML file holds, and what in it cannot be used.

    Args:
        content: The file's bytes, in UTF-8.
        source: The file's name, for errors.
        stringify: Whether keys that are no texts are taken as they stand.

    Raises:
        ConfigurationError: PyYAML is not installed; or it is not YAML, more than one document, or no mapping.
    """
    _need_yaml()
    node, problem = _node(content.reveal())
    if problem:
        # Raised here, where no local variable shows the content.
        raise ConfigurationError(f"{source} {problem}", hint="mend the file; nothing of it was used")
    if node is None:
        return Members([]), []
    reader = _Reader(source, stringify=stringify)
    document = reader.document(node)
    if not isinstance(document, Members):
        raise ConfigurationError(f"{source} is not a YAML mapping", hint="expected lines such as name: value")
    return document, reader.problems


def _need_yaml() -> None:
    try:
        import yaml  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise ConfigurationError(
            "reading YAML needs PyYAML, which is not installed", hint='pip install "strongroom[yaml]"'
        ) from error


def _node(content: bytes) -> tuple[yaml.Node | None, str]:
    """Return the root of the only document, and what is wrong; neither for an empty file."""
    import yaml

    try:
        text = content.decode("utf-8-sig")
        odd = _BREAK.search(text)
        if odd is not None:
            line = text.count("\n", 0, odd.start()) + 1
            return None, f"line {line} holds a character that ends a line in YAML 1.1 only; escape it in double quotes"
        return _composed(text)
    except yaml.MarkedYAMLError as error:
        # Its text quotes the line, so only the line's number is told.
        mark = error.problem_mark or error.context_mark
        return None, f"line {mark.line + 1} is not YAML" if mark is not None else "is not YAML"
    except (ValueError, RecursionError, yaml.YAMLError):
        return None, "is not YAML: it is not UTF-8, holds a control character or is nested without end"


def _composed(text: str) -> tuple[yaml.Node | None, str]:
    import yaml

    # The one in Python: it is the same wherever PyYAML is, and ends in a RecursionError where C code would not.
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        several = node is not None and loader.check_node()
    finally:
        loader.dispose()
    return (None, "holds more than one document") if several else (node, "")


class _Reader:
    """Makes a document of nodes, and goes on after a problem so that all are found at once."""

    def __init__(self, source: str, *, stringify: bool) -> None:
        self.problems: list[StrongroomError] = []
        self._source = source
        self._stringify = stringify
        self._seen: set[int] = set()
        self._repeated = 0

    def document(self, root: yaml.Node) -> Any:
        """Return the document as :class:`Members`, or something else if it is no mapping."""
        try:
            return self._value(root, root.start_mark.line + 1)
        except RecursionError:
            pass
        # Raised outside the handler: the frames below hold the content.
        raise ConfigurationError(f"{self._source} is nested without end", hint="mend the file; nothing of it was used")

    def _value(self, node: yaml.Node, line: int) -> Any:
        if not self._may_stand(node, line):
            return REFUSED
        if node.tag == f"{_TAG}map":
            return self._members(node.value)
        if node.tag == f"{_TAG}seq":
            return node.value
        return self._scalar(node, line)

    def _may_stand(self, node: yaml.Node, line: int) -> bool:
        """Tell whether a node stands there itself, or an alias may stand for it; report it if not."""
        if id(node) not in self._seen:
            self._seen.add(id(node))
            return True
        if not isinstance(node.value, str):
            return self._refuse(line, "repeats a mapping or a list", "write it out instead of the alias")
        self._repeated += len(node.value)
        if self._repeated <= MAX_REPEATED:
            return True
        return self._refuse(line, f"repeats more than {MAX_REPEATED} characters in all", "write out the aliases")

    def _members(self, pairs: list[tuple[yaml.Node, yaml.Node]]) -> Members:
        members: list[tuple[str, Any]] = []
        lines: list[int] = []
        keys: set[str] = set()
        for key, node in pairs:
            line = key.start_mark.line + 1
            if self._may_stand(key, line) and self._is_key(key, line):
                # Of two mappings, too, other readers see one.
                members.append((key.value, TWICE if key.value in keys else self._value(node, line)))
                keys.add(key.value)
                lines.append(line)
        return Members(members, tuple(lines), "a mapping")

    def _is_key(self, key: yaml.Node, line: int) -> bool:
        """Tell whether a key can be a name; report it if not."""
        if key.tag == f"{_TAG}merge":
            return self._refuse(line, "merges another mapping", "write out what << takes over")
        if not isinstance(key.value, str) or key.tag not in {f"{_TAG}{kind}" for kind in ("str", "null", *_WORDS)}:
            return self._refuse(line, "has a key that is no plain text", "name the secret there")
        if _is_text(key) or self._stringify:
            return True
        return self._refuse(line, "has a key that is not text", "put it in quotes, or add --stringify")

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        """Return what a single value is."""
        kind = node.tag.removeprefix(_TAG)
        if kind == "str" and isinstance(node.value, str):
            return node.value if _is_text(node) else Word(node.value)
        if kind == "binary" and isinstance(node.value, str):
            return self._bytes(node.value, line)
        if kind == "null":
            return None
        if kind in _WORDS and isinstance(node.value, str):
            return Word(node.value)
        self._refuse(line, "has a tag other than !!str and !!binary", "leave it out")
        return REFUSED

    def _bytes(self, text: str, line: int) -> Any:
        try:
            return binascii.a2b_base64("".join(text.split()), strict_mode=True)
        except ValueError:
            self._refuse(line, "is not valid base64", "mend it")
        return REFUSED

    def _refuse(self, line: int, what: str, hint: str) -> bool:
        self.problems.append(ConfigurationError(f"{self._source} line {line} {what}", hint=hint))
        return False


def _is_text(node: yaml.Node) -> bool:
    """Tell whether every reader takes a value as text: it is quoted, or nothing else that anybody knows."""
    if node.tag != f"{_TAG}str":
        return False
    return bool(node.style) or not (_NUMBER.fullmatch(node.value) or node.value in _LETTERS)
