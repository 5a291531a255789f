"""``python -m strongroom`` is the command ``strongroom``."""

import sys

from strongroom.cli.main import main

sys.exit(main())
