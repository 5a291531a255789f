"""Which secrets ``run`` and ``export`` hand out, and under which variable each goes."""

from __future__ import annotations

import argparse
import re

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.cli.command import UsageError
from strongroom.cli.problems import raise_all
from strongroom.errors import SecretNotFoundError, StrongroomError
from strongroom.model import Secret, SecretName

if TYPE_CHECKING:
    from strongroom.leases.held import LeaseStatus
    from strongroom.manager import SecretManager
    from strongroom.operations.batch import Batch

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEPARATORS: Final = re.compile(r"[/.-]")

_NAMES: Final = (
    # Shells: where they find programs, what they read when they start, what they expand in a prompt or a message.
    "PATH HOME SHELL IFS ENV CDPATH FPATH MANPATH MODULE_PATH ZDOTDIR KSH_ENV INPUTRC TMPDIR EXECIGNORE FIGNORE",
    "GLOBIGNORE HISTFILE MAIL MAILPATH PROMPT PROMPT2 PROMPT3 PROMPT4 PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 RPROMPT",
    "RPROMPT2 RPS1 RPS2 SPROMPT NULLCMD READNULLCMD TERMINFO TERMINFO_DIRS TERMCAP",
    # Shells: numbers, whose new value is computed, so that a command in it runs; and what cannot be assigned to.
    "BASH COLUMNS DIRSTACK EGID EPOCHREALTIME EPOCHSECONDS ERRNO EUID FUNCNAME FUNCNEST GID GROUPS HISTCMD HISTSIZE",
    "KEYTIMEOUT KSHEGID KSHGID KSHUID LINENO LINES LISTMAX LOGCHECK MAILCHECK OPTARG OPTERR OPTIND PGRP PIPESTATUS",
    "PPID RANDOM SAVEHIST SECONDS SHELLOPTS BASHOPTS BASHPID SHLVL SRANDOM TMOUT TTYIDLE UID USER_ID",
    # The C library and the loaders of other systems.
    "GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LIBPATH LOCALDOMAIN LOCPATH NLSPATH RES_OPTIONS SHLIB_PATH",
    # Languages: what their interpreters load, and options for them.
    "CLASSPATH JAVA_HOME JAVA_OPTS JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS JVM_OPTS _JAVA_OPTIONS NODE_OPTIONS NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE PHPRC PHP_INI_SCAN_DIR GEM_HOME GEM_PATH BUNDLE_GEMFILE BUNDLE_PATH R_HOME R_LIBS",
    "R_LIBS_USER R_ENVIRON R_ENVIRON_USER R_PROFILE R_PROFILE_USER OCAMLRUNPARAM TCLLIBPATH PSMODULEPATH",
    # Builds: what they compile with, and options for that.
    "AR AS CC CPP CXX LD CFLAGS CPPFLAGS CXXFLAGS LDFLAGS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH COMPILER_PATH",
    "LIBRARY_PATH GCC_EXEC_PREFIX GNUMAKEFLAGS MAKE MAKEFILES MAKEFLAGS MFLAGS PKG_CONFIG PKG_CONFIG_PATH CARGO",
    "CARGO_HOME GOENV GOFLAGS GOPATH GOROOT GOTOOLCHAIN RUSTFLAGS ANT_ARGS ANT_OPTS GRADLE_OPTS GRADLE_USER_HOME",
    "MAVEN_ARGS MAVEN_CONFIG MAVEN_OPTS SBT_OPTS",
    # Programs that other programs start, and files in which they are told what to start.
    "BROWSER EDITOR FCEDIT HGEDITOR MANPAGER PAGER PSQL_EDITOR PSQL_PAGER SUDO_EDITOR SVN_EDITOR SYSTEMD_EDITOR",
    "SYSTEMD_PAGER VISUAL CVS_RSH RSYNC_RSH RSYNC_CONNECT_PROG SVN_SSH SSH_ASKPASS SUDO_ASKPASS EXINIT VIMINIT",
    "VIMRUNTIME MYVIMRC EMACSLOADPATH LESS LESSOPEN LESSCLOSE LESSEDIT LESSKEY LESSKEYIN LESSKEY_CONTENT MORE",
    "TAR_OPTIONS ZIPOPT ANSIBLE_CONFIG AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE CURL_HOME WGETRC DOCKER_CONFIG",
    "GNUPGHOME HGRCPATH KUBECONFIG ODBCINI ODBCSYSINI PSQLRC TF_CLI_CONFIG_FILE",
    # Windows.
    "APPDATA COMSPEC LOCALAPPDATA PATHEXT PROGRAMDATA SYSTEMDRIVE SYSTEMROOT USERPROFILE WINDIR",
)
_PREFIXES: Final = (
    "BASH_ COMP_ DYLD_ LD_",
    "CORECLR_ COR_ COMPLUS_ DOTNET_ ERL_ GUILE_ JULIA_ LUA_ PERL PYTHON RUBY",
    "CARGO_ALIAS_ CARGO_BUILD_ CARGO_TARGET_ CCACHE_ CGO_ CMAKE_ MSBUILD NPM_CONFIG_ RUSTC RUSTDOC RUSTUP_",
    "GDK_ GIO_ GIT_ GST_ GTK_ GTK2_ GTK3_ OPENSSL_ QML_ QML2_ QT_ STRONGROOM_ XDG_",
)
SPECIAL: Final = frozenset(" ".join(_NAMES).split())
"""Variables that decide which code runs; in capitals, as zsh has some of them in small letters, and npm all."""
SPECIAL_PREFIXES: Final = tuple(" ".join(_PREFIXES).split())

MAPPING_HELP: Final = """\
names and variables:
  app/db-password becomes APP_DB_PASSWORD: letters in upper case (as they are with
  --keep-case), and / - . as _. With --strip-prefix, a --prefix is left out first:
  DB_PASSWORD. VARIABLE=NAME sets the variable, NAME#FIELD and VARIABLE=NAME#FIELD
  take one member of a JSON object; a name that itself holds = or # is reached with
  --prefix. Two secrets for one variable, or a name that cannot become one, stop the
  command before anything is read. So do variables that decide which code a loader,
  a shell or another program runs, such as PATH, LD_*, PYTHON*, GIT_*, PS1, RANDOM
  and EDITOR, unless --allow-special names them."""


class Choice(Record):
    """One secret to hand out, as it was asked for."""

    name: SecretName
    field: str | None = None
    variable: str | None = None
    """The variable that was asked for by name."""
    short: str = ""
    """The name without the prefix that is to be left out."""

    @property
    def label(self) -> str:
        """The secret in words."""
        return f"{self.name}#{self.field}" if self.field else str(self.name)


def configure(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that select secrets and name variables."""
    parser.add_argument(
        "--prefix",
        action="append",
        default=[],
        metavar="FOLDER",
        help="all secrets below this folder; '' for all; repeatable",
    )
    parser.add_argument("--strip-prefix", action="store_true", help="leave the prefix out of the variables' names")
    parser.add_argument("--keep-case", action="store_true", help="do not turn names into upper case")
    parser.add_argument(
        "--allow-special",
        action="append",
        default=[],
        metavar="VARIABLE",
        help="let a secret set this variable although it decides which code runs; repeatable",
    )


def choose(
    manager: SecretManager,
    wanted: Iterable[str],
    options: argparse.Namespace,
    listed: set[SecretName] | None = None,
) -> list[Choice]:
    """Return what was asked for by name and by prefix, in that order, each once.

    Args:
        manager: Lists what is below a prefix.
        wanted: ``NAME``, ``NAME#FIELD``, ``VARIABLE=NAME`` or ``VARIABLE=NAME#FIELD``.
        options: The command line, with what ``configure`` has added.
        listed: Takes the names that were found below a prefix.

    Raises:
        UsageError: Nothing was asked for, or a ``#`` has no field behind it.
        InvalidNameError: A name or prefix is not one.
        SecretNotFoundError: There is nothing below a prefix.
    """
    choices = [parse(text) for text in wanted]
    if not choices and not options.prefix:
        raise UsageError("no secret was chosen", hint="name secrets, or a folder with --prefix")
    for prefix in options.prefix:
        names = manager.list(prefix)
        if not names:
            raise SecretNotFoundError(f"there is no secret below {prefix!r}", hint="see `strongroom list`")
        choices += [Choice(name=name) for name in names]
        if listed is not None:
            listed.update(names)
    folders = [prefix.removesuffix("/") for prefix in options.prefix if options.strip_prefix and prefix]
    return list(dict.fromkeys(choice.replace(short=_short(choice.name, folders)) for choice in choices))


def parse(text: str) -> Choice:
    """Return what one argument asks for.

    Raises:
        UsageError: There is no field behind its ``#``.
        InvalidNameError: There is no name in it that a secret can have.
    """
    variable, equals, rest = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(variable):
        variable, rest = "", text
    name, mark, field = rest.partition("#")
    if mark and not field:
        raise UsageError(
            f"{text!r} names no field behind its #",
            hint="leave out the # to take all of it; a name that itself ends in # is reached with --prefix",
        )
    return Choice(name=SecretName(name), field=field or None, variable=variable or None)


def _short(name: SecretName, folders: list[str]) -> str:
    found = [folder for folder in folders if name.is_below(folder)]
    return name[len(max(found, key=len)) + 1 :] if found else str(name)


def variables(choices: Iterable[Choice], options: argparse.Namespace) -> dict[str, Choice]:
    """Return each choice under its variable.

    Args:
        choices: What was asked for.
        options: The command line, with what ``configure`` has added.

    Raises:
        UsageError: Two choices have one variable, one has none, or one has a
            variable that decides which code runs; all such problems are named.
    """
    found: dict[str, Choice] = {}
    problems: list[StrongroomError] = []
    for choice in choices:
        variable = choice.variable or _mapped(choice, keep_case=options.keep_case)
        problem = _problem(variable, choice, found.get(variable), options.allow_special)
        if problem is not None:
            problems.append(problem)
        found.setdefault(variable, choice)
    raise_all(problems)
    return found


def _mapped(choice: Choice, *, keep_case: bool) -> str:
    text = f"{choice.short}_{choice.field}" if choice.field else choice.short
    mapped = _SEPARATORS.sub("_", text)
    # Only letters that ASCII has: "ß".upper() would be two others.
    return mapped if keep_case or not mapped.isascii() else mapped.upper()


def _problem(variable: str, choice: Choice, other: Choice | None, allowed: list[str]) -> UsageError | None:
    if not _VARIABLE.fullmatch(variable):
        return UsageError(
            f"{choice.label} cannot become a variable", hint=f"choose one: VARIABLE={choice.label}, of A-Z, 0-9 and _"
        )
    if other is not None:
        return UsageError(
            f"{other.label} and {choice.label} would both be {variable}",
            hint=f"choose another for one of them: VARIABLE={choice.label}",
        )
    if is_special(variable) and variable not in allowed:
        return UsageError(
            f"{choice.label} would set {variable}, which decides which code runs",
            hint=f"add --allow-special {variable} if that is meant",
        )
    return None


def is_special(variable: str) -> bool:
    """Tell whether a variable decides which code runs, so that a secret must not set it unasked."""
    capitals = variable.upper()
    return capitals in SPECIAL or capitals.startswith(SPECIAL_PREFIXES)


def fetch(
    manager: SecretManager,
    choices: Iterable[Choice],
    missing: dict[Choice, SecretNotFoundError] | None = None,
    leases: list[LeaseStatus] | None = None,
) -> dict[Choice, Secret]:
    """Read what was chosen; all or nothing.

    Args:
        manager: Reads.
        choices: What was chosen.
        missing: Takes those that the backend says are not there, where that is no failure.
        leases: Takes the leases of what was read.

    Raises:
        StrongroomError: At least one cannot be read; the notes name the others that cannot.
    """
    from strongroom.cli.progress import Progress

    chosen = list(choices)
    with Progress("reading") as progress:
        batch = manager.get_many([choice.name for choice in chosen], progress=progress)
    found: dict[Choice, Secret] = {}
    problems: list[StrongroomError] = []
    for choice in chosen:
        answer = _answer(batch, choice)
        if isinstance(answer, Secret):
            found[choice] = answer
        elif missing is not None and isinstance(answer, SecretNotFoundError):
            missing[choice] = answer
        else:
            problems.append(answer)
    raise_all(problems)
    if leases is not None:
        leases += manager.leases()
    # They are for somebody else, who is to have them when this command has ended.
    manager.release_leases()
    return found


def _answer(batch: Batch, choice: Choice) -> Secret | StrongroomError:
    error = batch.errors.get(choice.name)
    if error is not None:
        return error
    try:
        return batch.found[choice.name].field(choice.field) if choice.field else batch.found[choice.name]
    except StrongroomError as problem:
        return problem
