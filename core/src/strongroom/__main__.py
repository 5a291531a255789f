"""``python -m strongroom`` is the command ``strongroom``."""

import sys

from strongroom.cli.main import run_process

sys.exit(run_process())
