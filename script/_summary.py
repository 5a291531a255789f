"""Add up the test results of all environments and close with one plain line.

    python script/_summary.py FOLDER

The folder holds one JUnit file for each environment that ran tests. With
``STRONGROOM_REQUIRE_ALL`` set, a test that was skipped for want of a tool counts
as failed: its reason begins with ``needs``, or is that of ``importorskip``.
Other skips are in order: a check that does not apply to a backend, or a test
for another kind of machine.
"""

import os
import sys

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree


def cases(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the outcome, the full name and the reason of each test.

    Args:
        folder: Where the JUnit files are.

    Yields:
        The outcome, which is ``passed``, ``failed`` or ``skipped``; then the test's
        environment and name; then why it was skipped, or an empty text.
    """
    for file in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314  # pytest wrote it just now
            outcome, reason = "passed", ""
            for child in case:
                if child.tag in {"failure", "error"}:
                    outcome = "failed"
                elif child.tag == "skipped" and child.get("type") != "pytest.xfail":
                    outcome, reason = "skipped", child.get("message", "")
            yield outcome, f"{file.stem}: {case.get('classname')}::{case.get('name')}", reason


def main(folder: Path) -> int:
    """Print the totals of the files in *folder*; return 1 if a skip must not be."""
    strict = bool(os.environ.get("STRONGROOM_REQUIRE_ALL"))
    totals: Counter[str] = Counter()
    missed = 0
    for outcome, name, reason in cases(folder):
        if strict and outcome == "skipped" and reason.startswith(("needs ", "could not import ")):
            print(f"skipped in a run that must be complete: {name}: {reason}")
            outcome, missed = "failed", missed + 1
        totals[outcome] += 1
    if totals:
        skipped = f", {totals['skipped']} skipped" if totals["skipped"] else ""
        print(f"{totals['passed']} passed, {totals['failed']} failed{skipped}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
