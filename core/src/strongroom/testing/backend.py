"""The contract of a backend, as checks."""

from __future__ import annotations

from strongroom.testing.backend_boundary import BoundaryChecks
from strongroom.testing.backend_encrypting import EncryptingChecks
from strongroom.testing.backend_journal import CopyChecks
from strongroom.testing.backend_journal_life import JournalLifeChecks
from strongroom.testing.backend_journal_settling import SettlingChecks
from strongroom.testing.backend_journal_writes import AppendChecks
from strongroom.testing.backend_listing import ListingChecks
from strongroom.testing.backend_names import NameChecks
from strongroom.testing.backend_polling import PollingChecks
from strongroom.testing.backend_processes import ProcessChecks
from strongroom.testing.backend_reading import ReadingChecks
from strongroom.testing.backend_recovery import DescribingChecks, RecoveryChecks
from strongroom.testing.backend_staging import StagingChecks
from strongroom.testing.backend_state import StateChecks
from strongroom.testing.backend_versions import CheckAndSetChecks, VersionChecks
from strongroom.testing.backend_writing import WritingChecks


class BackendContract(
    ReadingChecks,
    NameChecks,
    WritingChecks,
    VersionChecks,
    CheckAndSetChecks,
    ListingChecks,
    ProcessChecks,
    BoundaryChecks,
    StateChecks,
    RecoveryChecks,
    DescribingChecks,
    StagingChecks,
    PollingChecks,
    EncryptingChecks,
    CopyChecks,
    AppendChecks,
    SettlingChecks,
    JournalLifeChecks,
):
    """Everything that a backend promises; derive your test class from this.

    State ``capabilities`` as in the backend's specification, and override the
    fixture ``backend``. It is called anew for each check. Also to override:

    - ``seed``, for a backend that cannot write: a function that puts a secret
      there by other means, and takes a name and a text or bytes;
    - ``failing``: a backend that has lost its server, to see how yours
      translates that;
    - ``folder``: the folder that a check works in, if not any will do;
    - ``holds_binary = False``, for a backend that knows text only;
    - ``recovers_versions = False``, for one that brings back and destroys whole secrets only;
    - ``writes_over_deleted = False``, for one that refuses to write a deleted name before it is brought back;
    - ``credentials``: what the tests open the backend with.

    A backend that is ``Recoverable``, ``Describing``, ``Staging``, a ``StateStore`` or a ``VersionPolling`` as well is
    checked as that, too; so is one that is ``Encrypting``, whose fixture ``make_key`` may need to be overridden, and
    one that is a ``Journal``. What several openings of a journal or of a ``VersionPolling`` have in common is checked
    where the fixture ``reopen`` is overridden: it returns a function that opens the same storage once more.

    Example:
        .. code-block:: python

            class TestBackend(BackendContract):
                capabilities = frozenset({Capability.LIST})
                holds_binary = False

                @pytest.fixture
                def backend(self, tmp_path):
                    return FolderBackend(tmp_path)

                @pytest.fixture
                def seed(self, tmp_path):
                    def put(name, content):
                        path = tmp_path / name
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_text(content)
                        return SecretName(name)

                    return put
    """
