"""What the benchmark scripts share: medians, the table and the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import timeit

from collections.abc import Callable
from typing import Any


def arguments(description: str | None) -> argparse.Namespace:
    """Return the options that each script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="how often each figure is taken (7)")
    return parser.parse_args()


def per_call(call: Callable[[], object], *, number: int, repeat: int) -> float:
    """Return the median time of one call in microseconds, over several rounds of many calls."""
    rounds = timeit.repeat(call, number=number, repeat=repeat)
    return statistics.median(rounds) / number * 1e6


def machine() -> str:
    """Return what the figures were taken on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def show(title: str, rows: list[tuple[str, float, float]], unit: str, *, as_json: bool) -> None:
    """Print a table: what, median, and how many times the reference that is."""
    if as_json:
        figures: list[dict[str, Any]] = [{"what": what, unit: value, "ratio": ratio} for what, value, ratio in rows]
        json.dump({"title": title, "machine": machine(), "figures": figures}, sys.stdout, indent=2)
        print()
        return
    width = max(len(what) for what, _, _ in rows)
    print(f"{title}\n{machine()}\n")
    for what, value, ratio in rows:
        print(f"{what.ljust(width)}  {value:10.2f} {unit}  {ratio:6.2f} x")
    print()
