"""``rekey`` and ``local``: what concerns a store's own file."""

from __future__ import annotations

import argparse
import os
import sys

from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json
from strongroom.cli.keyfile import KeyFile
from strongroom.config.load import PluginTable, load
from strongroom.config.references import FileSource, VariableSource, is_reference, make_source
from strongroom.contracts.keys import KeySource
from strongroom.contracts.maintenance import BackupRequest, RekeyRequest, RekeyResult, VerifyRequest, VerifyResult
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import AuditError, ConfigurationError, MasterKeyError, TamperedError

if TYPE_CHECKING:
    from strongroom.contracts.backend import BackendSpec

_REKEY_EPILOG: Final = """\
which key:
  Without options, and with master_key = {file = "master.key"} in the configuration,
  a new random key is made and takes the place of that file; the old one is kept as
  master.key.old, as it opens the backups that were made before. If the command is
  interrupted, run it again. With --new-key-file or one of the --new-...-env options
  the configuration has to be changed afterwards: the command says how.

what it helps against:
  A new master key keeps out who gets hold of the old one from now on. Who has had
  both the store's file and its key has had the data key, too: --reencrypt replaces
  that and encrypts every record anew. What has leaked already, only new secrets mend."""


def _configure_rekey(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_REKEY_EPILOG}"
    parser.add_argument(
        "--reencrypt", action="store_true", help="encrypt every record anew; alone, the master key stays"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--new-key", action="store_true", help="make a new key file in any case (also with --reencrypt)")
    which.add_argument("--new-key-file", metavar="FILE", help="the new key: 32 random bytes in base64")
    which.add_argument("--new-key-env", metavar="VARIABLE", help="the same, in a variable")
    which.add_argument("--new-passphrase-env", metavar="VARIABLE", help="a passphrase instead, in a variable")
    _add_backend(parser)
    add_json(parser)


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", metavar="NAME", help="which of the configured backends; the default one")


def _rekey(session: Session, options: argparse.Namespace) -> int:
    given = _given_key(options)
    if given is None and (options.new_key or not options.reencrypt):
        return _exchange_key_file(session, options)
    request = RekeyRequest(
        new_key=given, passphrase=options.new_passphrase_env is not None, reencrypt=options.reencrypt
    )
    with session.open() as manager:
        result = manager.maintenance(options.backend).rekey(request)
    _report_rekey(options, result, {})
    if given is not None:
        setting = "passphrase" if request.passphrase else "master_key"
        note(f"next: the store opens with {given.describe()} only: say so at once as {setting} in the configuration")
    return 0


def _given_key(options: argparse.Namespace) -> KeySource | None:
    if options.new_key_file:
        return FileSource(options.new_key_file, "--new-key-file")
    if options.new_key_env:
        return VariableSource(options.new_key_env, "--new-key-env")
    if options.new_passphrase_env:
        return VariableSource(options.new_passphrase_env, "--new-passphrase-env")
    return None


class _Store:
    """A configured store whose key may have to be tried by itself."""

    def __init__(self, session: Session, name: str | None) -> None:
        configuration = load(session.config)
        self.name = name or configuration.default_backend
        if self.name not in configuration.backends:
            raise ConfigurationError(
                f"there is no backend {self.name!r}", hint=f"configured here: {', '.join(configuration.backends)}"
            )
        self._others = [
            *(table for name, table in configuration.backends.items() if name != self.name),
            *configuration.sinks,
            *configuration.detectors,
        ]
        table: PluginTable = configuration.backends[self.name]
        self._spec: BackendSpec = Catalogue().load(Kind.BACKEND, table.type)
        self._table = table

    def key_file(self) -> KeyFile:
        """Return the file of the master key.

        Raises:
            UsageError: The master key does not come from a file.
        """
        source = getattr(self._table.settings(self._spec.settings), "master_key", None)
        if isinstance(source, KeySource) and source.path is not None:
            return KeyFile(source.path)
        raise UsageError(
            f"{self.name} has no master key in a file, so no new one can be put in its place",
            hint="make a key yourself and name it with --new-key-file, --new-key-env or --new-passphrase-env",
        )

    def refuse_shared(self, key: KeyFile) -> None:
        """Refuse to exchange a key file that another part of the configuration needs as it is.

        Raises:
            UsageError: There is such a part; nothing changed.
        """
        for table in self._others:
            for setting, value in table.table.items():
                if _file_of(value, table.place.folder_of(setting)) == key.path:
                    raise UsageError(
                        f"{table.name} uses the key file {key.path}, too, and a new one in its place would lock it out",
                        hint="give each a key of its own first: copy the file, and name the copy there",
                    )

    def opens_with(self, path: str) -> bool:
        """Tell whether the master key in another file opens the store."""
        table = self._table.replace(table=self._table.table | {"master_key": {"file": path}})
        try:
            self._spec.open(table.settings(self._spec.settings)).close()
        except MasterKeyError:
            return False
        return True


def _file_of(value: object, folder: str) -> str | None:
    """Return the file that a setting takes its value from, if there is one; links are followed."""
    if not is_reference(value):
        return None
    path = make_source(value, folder=folder, where="the setting").path
    return None if path is None else os.path.realpath(path)


def _exchange_key_file(session: Session, options: argparse.Namespace) -> int:
    store = _Store(session, options.backend)
    key = store.key_file()
    with key.locked():
        finished = _finish_earlier(store, key)
        if finished and not options.reencrypt:
            _report_exchange(options, None, finished)
            return 0
        with session.open() as manager:
            # Both before a new key is made: with a wrong old key or a shared one, nothing is touched.
            maintenance = manager.maintenance(store.name)
            maintenance.prepare("rekey")
            store.refuse_shared(key)
            key.prepare()
            request = RekeyRequest(new_key=key.new_source(), reencrypt=options.reencrypt)
            try:
                result = maintenance.rekey(request)
            except AuditError as error:
                if error.applied:
                    key.exchange()
                raise
            files = _files(key, key.exchange())
    _report_exchange(options, result, files)
    return 0


def _finish_earlier(store: _Store, key: KeyFile) -> dict[str, str | None]:
    """Complete an exchange that was cut off after the store had been locked with the new key."""
    if not key.has_new() or not store.opens_with(key.new_path):
        return {}
    return _files(key, key.exchange())


def _files(key: KeyFile, old: str | None) -> dict[str, str | None]:
    return {"key_file": key.path, "old_key_file": old}


def _report_exchange(options: argparse.Namespace, result: RekeyResult | None, files: dict[str, str | None]) -> None:
    if result is None:
        if options.json:
            print_json({"finished_earlier": True, **files})
        note("finished an earlier change of keys that had been interrupted; run the command again for another one")
    else:
        _report_rekey(options, result, files)
    note(f"next: keep a copy of {files['key_file']} elsewhere: without it nothing can be read")
    if files["old_key_file"]:
        note(f"next: {files['old_key_file']} opens earlier backups only; remove it when those are gone")


def _report_rekey(options: argparse.Namespace, result: RekeyResult, files: dict[str, str | None]) -> None:
    if options.json:
        print_json(result.as_dict() | files)
    elif options.reencrypt:
        note(f"encrypted {result.records} records anew (key epoch {result.key_epoch})")
        note("next: make a new backup: earlier ones still open with the keys of their time")
    else:
        note(f"the store has a new master key (key epoch {result.key_epoch})")


def _configure_local(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="check every record and the whole; exit status 8 if anything is wrong")
    verify.add_argument(
        "--at-least",
        type=int,
        metavar="COUNTER",
        help="the counter of an earlier verify or backup: a lower one now means an old copy of the file",
    )
    backup = actions.add_parser("backup", help="copy the store, while it is in use, after checking it")
    backup.add_argument("path", metavar="PATH", help="where to; nothing may be there yet")
    for action in (verify, backup):
        _add_backend(action)
        add_json(action)


def _local(session: Session, options: argparse.Namespace) -> int:
    return _verify(session, options) if options.action == "verify" else _backup(session, options)


def _verify(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        result = manager.maintenance(options.backend).verify(VerifyRequest(at_least=options.at_least))
    if options.json:
        print_json(result.as_dict())
    else:
        _print_verified(result)
    return TamperedError.exit_status if result.problems else 0


def _print_verified(result: VerifyResult) -> None:
    sys.stdout.writelines(f"problem: {problem}\n" for problem in result.problems)
    summary = f"secrets {result.secrets}, records {result.records}, counter {result.counter}{_store(result.store_id)}"
    if result.problems:
        note(f"strongroom: the store does not verify ({summary}): restore a backup into another folder and compare")
    else:
        sys.stdout.write(f"verified: {summary}\n")


def _store(identity: str) -> str:
    return f", store {identity}" if identity else ""


def _backup(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        result = manager.maintenance(options.backend).backup(BackupRequest(path=options.path))
    if options.json:
        print_json(result.as_dict())
        return 0
    note(f"backed up to {result.path}: secrets {result.secrets}, counter {result.counter}{_store(result.store_id)}")
    note("next: keep the master key apart from it: neither is of use without the other")
    return 0


COMMANDS: Final = {
    "rekey": Command(
        summary="Change the key that opens a local store; all or nothing.",
        configure=_configure_rekey,
        run=_rekey,
        examples="""
            strongroom rekey
            strongroom rekey --reencrypt
            strongroom rekey --new-passphrase-env STORE_PASSPHRASE
        """,
    ),
    "local": Command(
        summary="Verify or back up a local store.",
        configure=_configure_local,
        run=_local,
        examples="""
            strongroom local verify
            strongroom local verify --at-least 1200
            strongroom local backup /backups/secrets.db
        """,
    ),
}
