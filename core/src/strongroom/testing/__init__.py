"""What plugin authors test with: one contract a kind of plugin, and a few helpers.

A contract is a class of small, named checks. Derive from it in your own tests,
override its one fixture, and pytest runs every check against your plugin:

.. code-block:: python

    class TestBackend(BackendContract):
        capabilities = frozenset({Capability.WRITE, Capability.LIST})

        @pytest.fixture
        def backend(self):
            return AcmeBackend(acme_client.fake())

A check that needs a capability which the class does not state is skipped and says
so. Needs ``pip install strongroom[testing]``. Nothing in the core imports this package.
"""

import pytest

# Must come before the imports below, or a failed check would say only AssertionError.
pytest.register_assert_rewrite(
    "strongroom.testing.anomaly",
    "strongroom.testing.audit",
    "strongroom.testing.backend",
    "strongroom.testing.backend_boundary",
    "strongroom.testing.backend_encrypting",
    "strongroom.testing.backend_encrypting_kit",
    "strongroom.testing.backend_journal",
    "strongroom.testing.backend_journal_kit",
    "strongroom.testing.backend_journal_life",
    "strongroom.testing.backend_journal_settling",
    "strongroom.testing.backend_journal_writes",
    "strongroom.testing.backend_kit",
    "strongroom.testing.backend_listing",
    "strongroom.testing.backend_names",
    "strongroom.testing.backend_polling",
    "strongroom.testing.backend_processes",
    "strongroom.testing.backend_reading",
    "strongroom.testing.backend_recovery",
    "strongroom.testing.backend_staging",
    "strongroom.testing.backend_state",
    "strongroom.testing.backend_versions",
    "strongroom.testing.backend_writing",
    "strongroom.testing.cache",
    "strongroom.testing.leaks",
    "strongroom.testing.leasing",
    "strongroom.testing.meters",
    "strongroom.testing.plugin",
    "strongroom.testing.processes",
    "strongroom.testing.rotation",
)

from strongroom.testing.anomaly import AnomalyDetectorContract as AnomalyDetectorContract  # noqa: E402  # see above
from strongroom.testing.audit import AuditSinkContract as AuditSinkContract  # noqa: E402  # see above
from strongroom.testing.backend import BackendContract as BackendContract  # noqa: E402  # see above
from strongroom.testing.cache import CachePolicyContract as CachePolicyContract  # noqa: E402  # see above
from strongroom.testing.clock import FakeClock as FakeClock  # noqa: E402  # see above
from strongroom.testing.doubles import FaultyBackend as FaultyBackend  # noqa: E402  # see above
from strongroom.testing.doubles import MemorySink as MemorySink  # noqa: E402  # see above
from strongroom.testing.leaks import assert_hidden as assert_hidden  # noqa: E402  # see above
from strongroom.testing.leaks import encodings_of as encodings_of  # noqa: E402  # see above
from strongroom.testing.leaks import leaks_in as leaks_in  # noqa: E402  # see above
from strongroom.testing.leaks import marker_value as marker_value  # noqa: E402  # see above
from strongroom.testing.leaks import report_of as report_of  # noqa: E402  # see above
from strongroom.testing.leasing import CredentialMaker as CredentialMaker  # noqa: E402  # see above
from strongroom.testing.leasing import LeasingContract as LeasingContract  # noqa: E402  # see above
from strongroom.testing.plugin import PluginContract as PluginContract  # noqa: E402  # see above
from strongroom.testing.processes import in_forked_child as in_forked_child  # noqa: E402  # see above
from strongroom.testing.processes import in_threads as in_threads  # noqa: E402  # see above
from strongroom.testing.rotation import RotatorContract as RotatorContract  # noqa: E402  # see above
