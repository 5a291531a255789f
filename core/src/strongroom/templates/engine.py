"""Fills templates in with Jinja2 in its sandbox; what goes wrong is told by file and line, never by a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.templates.files import Files, Source
from strongroom.templates.reads import Reads
from strongroom.templates.spellings import FILTERS, printed

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

_KEPT: Final = ("range", "dict", "namespace")
"""What remains of Jinja2's own globals; the others are for examples, or lead to its insides."""
_SOUND: Final = (3, 1, 6)
"""The first version in which `|attr("format")` is as safe as the method."""


class Engine:
    """Renders templates, all of them with the same secrets.

    Args:
        files: Reads what they include.
        reads: Reads their secrets.
    """

    def __init__(self, files: Files, reads: Reads) -> None:
        self._files = files
        self._reads = reads

    def render(self, source: Source) -> bytes:
        """Return what a template gives.

        Args:
            source: The template.

        Raises:
            ConfigurationError: Jinja2 is not installed, or the template is not sound; the text names file and line.
            StrongroomError: A secret cannot be read, or not be written as the template wants; a note names the place.
        """
        return _Rendering(source, self._files, self._reads).run()


class _Rendering:
    """One template being rendered, with what it includes."""

    def __init__(self, source: Source, files: Files, reads: Reads) -> None:
        self._source = source
        self._files = files
        self._reads = reads
        self._texts = {source.label: source.text}
        self._environment = _environment(source, self._load)
        self._environment.globals.update(reads.functions())

    def run(self) -> bytes:
        try:
            return self._rendered().encode()
        # The boundary to foreign code: a template can raise anything, with a value in its text.
        except Exception as error:  # noqa: BLE001  # see above
            found = self._explained(error)
        # Raised outside the handler: what the error carries along holds values.
        raise found

    def _rendered(self) -> str:
        environment, source = self._environment, self._source
        # Under its own name, so that a traceback tells which file it leads to.
        code = environment.compile(source.text, name=source.label, filename=source.label)
        return environment.template_class.from_code(environment, code, environment.make_globals(None)).render()

    def _load(self, name: str) -> tuple[str, str, None] | None:
        """Return what a template includes, as Jinja2 wants it."""
        folder = self._source.folder
        found = self._files.included(folder, name) if folder is not None else None
        if found is None:
            return None
        self._texts[found.label] = found.text
        return found.text, found.label, None

    def _explained(self, error: Exception) -> StrongroomError:
        """Return what is told instead of an error; its own text is told only if it is ours."""
        from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError
        from jinja2.exceptions import SecurityError

        label, line = self._place(error)
        place = f"{label}, line {line}" if line else label
        if isinstance(error, StrongroomError):
            return self._ours(place, error)
        if isinstance(error, TemplateSyntaxError):
            # Whatever it quotes stands in a template.
            return ConfigurationError(f"{place} is no sound template: {_sentence(error)}", hint="mend it")
        if isinstance(error, UndefinedError):
            return _undefined(place, self._names(label, line))
        if isinstance(error, TemplateNotFound):
            return _missing(place, self._includes(label, line))
        if isinstance(error, SecurityError):
            return ConfigurationError(f"{place} does what the sandbox forbids", hint="leave out what is Python's own")
        kind = type(error).__name__
        return ConfigurationError(f"{place} cannot be evaluated ({kind})", hint="check its filters and arguments")

    def _ours(self, place: str, error: StrongroomError) -> StrongroomError:
        """Return an error of ours with its place, unless what it quotes may be made of a value."""
        found = error.again()
        if self._reads.has_texts() and not all(map(self._is_plain, self._reads.asking)):
            found.what = f"{place} asks for something by a name that it puts together, and that fails ({error.code})"
            found.hint = "such names are not shown, as they may hold a value: write them out to see more"
            found.args, found.name = (found.what,), None
            return found
        found.add_note(f"see {place}")
        return found

    def _is_plain(self, text: str) -> bool:
        """Tell whether a text is no secret: it stands in a template, or was among the names that it has listed."""
        return text in self._reads.listed or any(text in template for template in self._texts.values())

    def _place(self, error: Exception) -> tuple[str, int]:
        """Return in which file and line an error has come up; 0 if nobody knows the line."""
        from jinja2 import TemplateSyntaxError

        if isinstance(error, TemplateSyntaxError):
            return error.filename or self._source.label, error.lineno
        found = (self._source.label, 0)
        traceback = error.__traceback__
        while traceback is not None:
            file = traceback.tb_frame.f_code.co_filename
            if file in self._texts:
                found = (file, traceback.tb_lineno)
            traceback = traceback.tb_next
        return found

    def _names(self, label: str, line: int) -> list[str]:
        """Return the names in a line that nothing defines."""
        from jinja2 import meta, nodes

        tree = self._environment.parse(self._texts.get(label, ""))
        unknown = meta.find_undeclared_variables(tree) - self._environment.globals.keys()
        return sorted({node.name for node in _at(tree, line, nodes.Name) if node.name in unknown})

    def _includes(self, label: str, line: int) -> list[str]:
        """Return what a line includes, as far as the template says so itself."""
        from jinja2 import nodes

        tree = self._environment.parse(self._texts.get(label, ""))
        found = list(_at(tree, line, nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport))
        return [str(node.template.value) for node in found if isinstance(node.template, nodes.Const)]


def _environment(source: Source, load: Any) -> SandboxedEnvironment:
    try:
        from jinja2 import FunctionLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ConfigurationError(
            "templates are rendered with Jinja2, which is not installed", hint='pip install "strongroom[render]"'
        ) from error
    _check_version()
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # not only HTML is made of templates; each place says how it is spelled
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        newline_sequence="\r\n" if "\r\n" in source.text else "\n",
        finalize=printed,
        loader=FunctionLoader(load),
    )
    kept = {name: environment.globals[name] for name in _KEPT}
    environment.globals.clear()
    environment.globals.update(kept)
    environment.filters.update(FILTERS)
    return environment


def _check_version() -> None:
    """Refuse a Jinja2 whose sandbox is known to let templates out; it may be there for another program's sake."""
    from importlib.metadata import version

    found = version("jinja2")
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < _SOUND:
        raise ConfigurationError(
            f"the sandbox of Jinja2 {found} has known holes", hint='pip install --upgrade "jinja2>=3.1.6"'
        )


def _at(tree: nodes.Template, line: int, *kinds: type[Any]) -> Iterator[Any]:
    return (node for node in tree.find_all(kinds) if node.lineno == line)


def _sentence(error: Exception) -> str:
    return str(getattr(error, "message", None) or "it cannot be read").rstrip(".")


def _undefined(place: str, names: list[str]) -> ConfigurationError:
    if not names:
        return ConfigurationError(f"{place} uses a member that is not there", hint="check how it is spelled")
    return ConfigurationError(
        f"{place} uses {', '.join(names)}, which nothing defines",
        hint='a template has secret("NAME"), secret_bytes("NAME"), names("FOLDER/") and reference("strongroom://NAME")',
    )


def _missing(place: str, names: list[str]) -> ConfigurationError:
    what = ", ".join(names) or "another template"
    return ConfigurationError(
        f"{place} includes {what}, which is not there", hint="it must be in the folder of the template, or below it"
    )
