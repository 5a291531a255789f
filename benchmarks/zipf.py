"""Hit rates on Zipf traces: strongroom's cache against LRU, LFU and W-TinyLFU, and against the best possible.

Needs `cachetools` and `theine` beside strongroom. Every cache sees the same
traces, from the same seeds, and keeps a tenth of the names. strongroom is read
through its manager, on the backend in memory, without an audit trail; the
bound is a cache that always holds the names that the trace asks for most.
"""

from __future__ import annotations

import json
import random
import sys

from collections import Counter
from collections.abc import Callable
from typing import Any

from _common import arguments, machine
from cachetools import LFUCache, LRUCache
from theine import Cache as TheineCache

import strongroom

NAMES, ENTRIES, ACCESSES = 10_000, 1_000, 1_000_000
EXPONENTS = (0.8, 0.99, 1.2, 1.5)
VALUE = "correct horse battery staple"


def _trace(exponent: float, seed: int) -> list[str]:
    """Return names in the order in which they are asked for; popularity has nothing to do with their spelling."""
    draw = random.Random(seed)
    names = [f"zipf/{number}" for number in range(NAMES)]
    draw.shuffle(names)
    weights = [1 / rank**exponent for rank in range(1, NAMES + 1)]
    return draw.choices(names, weights=weights, k=ACCESSES)


def _best(trace: list[str]) -> float:
    return sum(count for _, count in Counter(trace).most_common(ENTRIES)) / len(trace)


def _strongroom(trace: list[str]) -> float:
    settings = {
        "backends": {"memory": {"type": "memory"}},
        "cache": {"ttl": "1d", "max_entries": ENTRIES},
        "audit": "none",
    }
    with strongroom.open(settings) as manager:
        for name in set(trace):
            manager.set(name, VALUE)
        for name in trace:
            manager.get(name)
        stats = manager.stats()
        assert stats.reads == len(trace)
        return stats.hit_rate


def _cachetools(kind: type[Any]) -> Callable[[list[str]], float]:
    def rate(trace: list[str]) -> float:
        cache, hits = kind(maxsize=ENTRIES), 0
        for name in trace:
            if cache.get(name) is None:
                cache[name] = VALUE
            else:
                hits += 1
        return hits / len(trace)

    return rate


def _theine(trace: list[str]) -> float:
    cache: TheineCache[str, str] = TheineCache(ENTRIES)
    hits = 0
    for name in trace:
        _, found = cache.get(name)
        if found:
            hits += 1
        else:
            cache.set(name, VALUE)
    cache.close()
    return hits / len(trace)


CACHES: dict[str, Callable[[list[str]], float]] = {
    "the most popular tenth, pinned": _best,
    "strongroom": _strongroom,
    "cachetools.LRUCache": _cachetools(LRUCache),
    "cachetools.LFUCache": _cachetools(LFUCache),
    "theine (W-TinyLFU)": _theine,
}


def main() -> None:
    options = arguments(__doc__)
    rates: dict[str, list[float]] = {what: [] for what in CACHES}
    for seed, exponent in enumerate(EXPONENTS, start=1):
        trace = _trace(exponent, seed)
        for what, rate in CACHES.items():
            rates[what].append(rate(trace))
    if options.json:
        json.dump({"machine": machine(), "exponents": EXPONENTS, "hit rates": rates}, sys.stdout, indent=2)
        print()
        return
    width = max(map(len, rates))
    print(f"Hit rate, {ACCESSES:,} accesses, {NAMES:,} names, {ENTRIES:,} entries\n{machine()}\n")
    print(" " * width + "".join(f"{exponent:>9}" for exponent in EXPONENTS))
    for what, figures in rates.items():
        print(what.ljust(width) + "".join(f"{100 * figure:8.2f}%" for figure in figures))


if __name__ == "__main__":
    main()
