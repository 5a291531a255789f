"""``git``: a credential helper, so that git has its passwords from here; see gitcredentials(7)."""

from __future__ import annotations

import argparse
import re
import sys

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from strongroom._record import Record
from strongroom.cli.command import Command, Session, UsageError, note, write_bytes
from strongroom.cli.text import has_control, printable
from strongroom.errors import InvalidNameError, InvalidValueError, SecretNotFoundError
from strongroom.model import ABSENT, Secret, SecretName
from strongroom.references import segment

if TYPE_CHECKING:
    from strongroom.manager import SecretManager

_SECONDS: Final = re.compile("[0-9]{1,18}")
_PORT: Final = re.compile(r":[0-9]*\Z")

MOST_BYTES: Final = 1 << 20
"""The most that git may say at once."""
DEPTH: Final = 8
"""How many segments of a path are looked at: the address may be one that a foreign repository names."""

_EPILOG: Final = """\
setting it up:
  git config --global credential.helper strongroom
  git config --global credential.helper '!strongroom --config /etc/shop.toml git'

names:
  git/HOST, or git/HOST:PORT where the address has a port. With credential.useHttpPath
  a path is looked for from its end: for https://git.example.com/shop/web.git these are
  git/git.example.com/shop/web.git, git/git.example.com/shop, git/git.example.com.
  What may not stand in a name is written as % and two digits.

values:
  A JSON object with username and password, and password_expiry_utc if it has one; or
  a password alone, for the user whom the address or --username names. One for another
  user than the address names is passed over.

what git is told:
  Nothing, if there is no such secret: git asks its next helper, or you. Any other
  failure is shown, and git stops there instead of asking: an outage must not hang
  a build. Nothing is sent for http://, but to this machine itself or with
  --allow-http. git says `erase` whenever a server refuses a password, whoever the
  server is; so nothing is ever erased, and stored only with --writable."""


class Request(Record):
    """What git asks about."""

    protocol: str = ""
    host: str = ""
    path: str = ""
    username: str = ""
    password: str = ""
    password_expiry_utc: str = ""

    def __repr__(self) -> str:
        return f"<Request {self.address}>"

    @property
    def address(self) -> str:
        """Where the credential is for, for a message."""
        return printable(f"{self.protocol}://{self.host}" + (f"/{self.path}" if self.path else ""))


class Login(Record):
    """What a secret holds."""

    name: SecretName
    username: str
    password: str
    version: str | None
    expires: int | None = None
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return f"<Login {self.name}>"

    def is_what(self, request: Request) -> bool:
        """Tell whether it is the credential that git tells of."""
        from hmac import compare_digest

        same = compare_digest(self.password.encode(), request.password.encode())
        return self.username == request.username and same


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    parser.add_argument("--prefix", default="git/", metavar="FOLDER", help="where the secrets are (git/)")
    parser.add_argument("--username", metavar="USER", help="who it is where neither git nor the secret says so")
    parser.add_argument("--allow-http", action="store_true", help="also where everybody on the way can read it")
    parser.add_argument("--writable", action="store_true", help="store what git has been told and a server has taken")
    parser.add_argument("operation", metavar="OPERATION", help="get, store or erase; git adds it")


def _git(session: Session, options: argparse.Namespace) -> int:
    action = {"get": _get, "store": _store, "erase": _erase}.get(options.operation)
    if action is None:
        # What later versions of git may ask for is to be passed over.
        return 0
    failed = True
    try:
        # Up to an empty line, so that it can be tried at a terminal.
        request = parse(b"".join(_lines()))
        if _is_meant(request, options):
            action(session, options, request)
        failed = False
    finally:
        if failed and options.operation == "get":
            _tell("quit=1")
    return 0


def _lines() -> Iterator[bytes]:
    left = MOST_BYTES
    while left > 0:
        line = sys.stdin.buffer.readline(left)
        if line in {b"", b"\n"}:
            return
        left -= len(line)
        yield line
    raise UsageError("what git asks has no end", hint="let git call it; see gitcredentials(7)")


def _tell(*lines: str) -> None:
    # As bytes: neither the locale nor the system may change what git reads.
    write_bytes("".join(f"{line}\n" for line in lines).encode())


def parse(content: bytes) -> Request:
    """Return what git asks about.

    Args:
        content: Lines of ``key=value``.

    Raises:
        UsageError: That is not how git asks: a line has no ``=``, a control character or no text in it, or one
            stands there twice.
    """
    found = _attributes(content)
    # Raised here, where no local variable shows a password.
    del content
    if found is None:
        raise UsageError("that is not how git asks for a credential", hint="let git call it; see gitcredentials(7)")
    return Request(**{key: found[key] for key in Request.__annotations__ if key in found})


def _attributes(content: bytes) -> dict[str, str] | None:
    """Return the value of each key; ``None`` if it is not what git says."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    found: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if key.endswith("[]"):
            continue  # Capabilities and challenges of the server: a user and a password need neither.
        if line and (not equals or key in found or has_control(line)):
            return None  # One value must not be able to pose as two, or a second host as the first.
        found[key] = value
    return found


def _is_meant(request: Request, options: argparse.Namespace) -> bool:
    """Tell whether this is a connection that has a credential here, and may have one."""
    if not request.host or request.protocol not in {"https", "http"}:
        return False
    if request.protocol == "https" or options.allow_http or _is_here(request.host):
        return True
    note(f"strongroom: {request.address} is not encrypted, so nothing is sent there: use https, or add --allow-http")
    return False


def _is_here(host: str) -> bool:
    name = _PORT.sub("", host)
    numbers = name.split(".")
    loopback = len(numbers) == 4 and numbers[0] == "127" and all(one.isdecimal() and len(one) <= 3 for one in numbers)
    return loopback or name.lower() in {"localhost", "[::1]"}


def _names(request: Request, prefix: str) -> Iterator[SecretName]:
    """Yield where the credential may be, the longest path first."""
    folder = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
    parts = [request.host.lower(), *[part for part in request.path.split("/") if part][:DEPTH]]
    for length in range(len(parts), 0, -1):
        try:
            yield SecretName(folder + "/".join(segment(part) for part in parts[:length]))
        except InvalidNameError:
            # No secret can be called like that, so there is none.
            continue


def _find(manager: SecretManager, options: argparse.Namespace, request: Request) -> Login | None:
    """Return the credential for a request, if there is one for its user.

    Raises:
        InvalidValueError: What is there is no credential.
        StrongroomError: It cannot be read.
    """
    for name in _names(request, options.prefix):
        try:
            secret = manager.get(name)
        except SecretNotFoundError:
            continue
        login = _login(secret, request.username or options.username or "")
        if login is None:
            raise InvalidValueError(
                f"{secret.name} is no credential for git",
                hint="it takes username and password, in one line each (`strongroom set --trim-newline`); "
                "see --username",
                name=secret.name,
            )
        if request.username in {"", login.username}:
            return login
    return None


def _login(secret: Secret, username: str) -> Login | None:
    """Return what a secret holds, if git can be told it; not if a password or a user is missing or has a line break.

    Raises:
        InvalidValueError: It is no text.
    """
    content = _members(secret.reveal_text())
    found = [content.get("username", username), content.get("password")]
    expires = content.get("password_expiry_utc")
    fits = all(isinstance(one, str) and one and not has_control(one) for one in found)
    if not fits or isinstance(expires, bool) or not isinstance(expires, int | None):
        return None
    return Login(name=secret.name, username=found[0], password=found[1], version=secret.version, expires=expires)


def _members(text: str) -> dict[str, Any]:
    """Return the members of a JSON object, or any other text as the password."""
    import json

    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else {"password": text}


def _get(session: Session, options: argparse.Namespace, request: Request) -> None:
    import time

    with session.open() as manager:
        login = _find(manager, options, request)
        manager.release_leases()
    if login is None:
        return
    if login.expires is not None and login.expires <= time.time():
        note(f"strongroom: what {login.name} holds has expired: set it anew")
        return
    expiry = [] if login.expires is None else [f"password_expiry_utc={login.expires}"]
    _tell(f"username={login.username}", f"password={login.password}", *expiry)


def _store(session: Session, options: argparse.Namespace, request: Request) -> None:
    if not options.writable or not (request.username and request.password):
        return
    import json

    content: dict[str, Any] = {"username": request.username, "password": request.password}
    if _SECONDS.fullmatch(request.password_expiry_utc):
        content["password_expiry_utc"] = int(request.password_expiry_utc)
    with session.open() as manager:
        # git stores what it has just been given from here, too.
        known = _find(manager, options, request)
        if known is not None and known.is_what(request):
            return
        name = known.name if known is not None else next(_names(request, options.prefix), None)
        if name is None:
            raise InvalidNameError("no secret can have that address as its name", hint="see credential.useHttpPath")
        manager.set(name, json.dumps(content), expect_version=ABSENT if known is None else known.version)
    note(f"strongroom: stored {name}")


def _erase(session: Session, options: argparse.Namespace, request: Request) -> None:
    with session.open() as manager:
        known = _find(manager, options, request)
    if known is not None and known.is_what(request):
        note(f"strongroom: {request.address} refused what {known.name} holds; it is kept: set it anew, or delete it")


def helper() -> int:
    """Run ``git`` as a process of its own; what git calls as ``git-credential-strongroom``.

    Returns:
        The exit status.
    """
    from strongroom.cli.main import run_process

    return run_process(["git", *sys.argv[1:]])


COMMANDS: Final = {
    "git": Command(
        summary="Tell git its passwords, as a credential helper.",
        configure=_configure,
        run=_git,
        examples="""
            git config --global credential.helper strongroom
            printf 'protocol=https\\nhost=git.example.com\\n' | strongroom git get
        """,
    ),
}
