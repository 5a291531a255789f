"""A throw-away manager for tests, and a check that no test prints a value.

pytest finds the plugin by itself; ``LeakWatch`` is what the fixture ``strongroom_leaks`` gives, for annotations.
"""

from strongroom_pytest.leaks import LeakWatch as LeakWatch

__all__ = ["LeakWatch"]
