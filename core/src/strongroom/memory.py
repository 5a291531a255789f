"""What keeps values in memory from reaching the disk: no core dumps, and no swap where that is asked for."""

from __future__ import annotations

import os
import sys

from strongroom.errors import ConfigurationError

# Of <sys/mman.h>; on these processors the numbers stand 13 bits higher.
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4
_HIGHER = ("ppc", "powerpc", "sparc", "alpha")

# At 0, Linux writes no file, but still hands the dump to a program where core_pattern names one; at 1, it does neither.
_NO_CORE = 1 if sys.platform == "linux" else 0

_PARENT_DEATH, _DUMPABLE = 1, 4
"""``PR_SET_PDEATHSIG`` and ``PR_SET_DUMPABLE`` of <linux/prctl.h>."""

_watching = False


def forbid_core_dumps() -> None:
    """Have neither this process nor what it starts or becomes leave a core dump; this cannot be taken back.

    Where the system has no such limit, nothing happens.
    """
    try:
        import resource
    except ImportError:
        return
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    except (OSError, ValueError):
        return  # it is 0 already and may not be raised to 1, or the system has no limit that counts


def forbid_inspection() -> None:
    """Have Linux show this process's memory and its first environment to root alone, and not to its own user.

    A process that it starts is not concerned. Elsewhere, nothing happens.
    """
    _prctl(_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have Linux kill this process, and the program that it becomes, when its parent dies. Elsewhere, nothing happens.

    If the parent has died before, it does not happen either.
    """
    import signal

    _prctl(_PARENT_DEATH, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    try:
        import ctypes
    except ImportError:
        return
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def lock_memory() -> None:
    """Have no page of this process written to the swap space, be it there already or come later.

    Pages are locked as they are first touched. A forked child locks its own as
    well, since it inherits no lock; if it cannot, that is logged as a warning.

    Raises:
        ConfigurationError: The system has no such thing, or refuses.
    """
    reason = _locked()
    if reason is not None:
        raise ConfigurationError(
            f"the memory cannot be locked, as lock_memory asks for: {reason}",
            hint="raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity for a service, `ulimit -l unlimited`) or grant "
            "CAP_IPC_LOCK; or remove lock_memory and encrypt the swap space",
        )
    _watch_forks()


def _locked() -> str | None:
    """Lock all pages; return why that failed, or nothing."""
    if sys.platform != "linux":
        return f"{sys.platform} offers no way to lock all of a process's pages"
    try:
        import ctypes
    except ImportError:
        return "this Python has no module ctypes"
    flags = _CURRENT | _FUTURE | _ON_FAULT
    if os.uname().machine.startswith(_HIGHER):
        flags <<= 13
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(flags) == 0:
        return None
    return os.strerror(ctypes.get_errno())


def _watch_forks() -> None:
    global _watching  # the hooks belong to the process, and cannot be taken back
    if not _watching:
        _watching = True
        os.register_at_fork(after_in_child=_lock_again)


def _lock_again() -> None:
    reason = _locked()
    if reason is not None:
        import logging

        logging.getLogger("strongroom").warning(f"the memory of a forked child cannot be locked: {reason}")
