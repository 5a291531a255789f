"""Commands that end at once after a change have announced it."""

from __future__ import annotations

import json
import sys

from typing import Any

PROGRAM = "import sys, time; time.sleep(0.3); open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"


def test_a_rotation_is_announced_before_the_command_ends(desk: Any) -> None:
    out = desk.folder / "heard"
    command = json.dumps([sys.executable, "-c", PROGRAM, str(out)])
    (desk.folder / "strongroom.toml").write_text(
        'backend = "m"\naudit = "none"\n[backends.m]\ntype = "memory"\nseed = { "db/a" = "old" }\n'
        f'[rotation."db/*"]\n[[announcements]]\ntype = "command"\ncommand = {command}\n'
    )
    done = desk("rotate", "db/a")
    assert done.status == 0, done.stderr
    heard = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["event"], one["name"]) for one in heard] == [("rotation_started", "db/a"), ("secret_updated", "db/a")]
    assert "lost" not in done.stderr
