"""Writing secrets into a file: private from birth, whole or not at all."""

from __future__ import annotations

import os

from strongroom.errors import ConfigurationError


def write_private(path: str, content: bytes, *, replace: bool) -> None:
    """Make a file for the owner only, durably and under its final name at once.

    What is at the path is never opened: a symbolic link is replaced or refused, not followed.

    Args:
        path: Where to.
        content: The file's bytes.
        replace: Whether what is there may go.

    Raises:
        ConfigurationError: There is something already, or the folder cannot be written to.
    """
    path = os.path.abspath(path)
    if not replace and os.path.lexists(path):
        raise _taken(path)
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.urandom(8).hex()}.new")
    try:
        _write(draft, content)
        try:
            _publish(draft, path, replace=replace)
        finally:
            _remove(draft)
        sync_folder(path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


def _taken(path: str) -> ConfigurationError:
    return ConfigurationError(f"there is already something at {path}", hint="choose another path, or add --force")


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _publish(draft: str, path: str, *, replace: bool) -> None:
    if not replace:
        try:
            os.link(draft, path, follow_symlinks=False)
            return
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            # A file system without hard links can only replace, so the name is taken first.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.replace(draft, path)


def _remove(draft: str) -> None:
    try:
        os.unlink(draft)
    except FileNotFoundError:
        return


def sync_folder(path: str) -> None:
    """Have the names in a file's folder on stable storage.

    Args:
        path: An absolute path of a file in it.

    Raises:
        OSError: The folder cannot be opened or synced.
    """
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
