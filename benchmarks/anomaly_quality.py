"""How many attacks the anomaly detectors find, how soon, and how often they are wrong.

Fifty principals use five hundred secrets for thirty days, made up from a seed;
six kinds of attack happen in the second half. Limits of the comparisons were
chosen on the seeds 0 to 9 (`--tune` does it again), like the detectors' defaults.
Needs `strongroom-anomaly` beside strongroom, and `river` for one comparison.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import multiprocessing

from collections import Counter
from collections.abc import Iterable
from typing import Final

from _common import machine
from _detecting import guarded, specs
from _peers import Level, Trees, Window, above, levels, over, tuned_limits, tuned_score
from _scoring import Alert, Score, comparison, table
from _traffic import Traffic, traffic

TUNING: Final = "0-9"
UNSEEN: Final = "1000-1019"
LIMITS: Final = (80, math.inf)
"""Accesses a minute and names in ten minutes; what ``--tune`` printed."""
TREES: Final = 0.9812
"""What ``--tune`` printed."""


def seeds(text: str) -> list[int]:
    """Return the seeds of a text such as ``0-9,42``."""
    parts = [part.partition("-") for part in text.split(",")]
    return [seed for first, _, last in parts for seed in range(int(first), int(last or first) + 1)]


def found_by(task: tuple[int, tuple[str, ...], bool, bool]) -> dict[str, Score]:
    """Return what is found in the traffic of one seed, by the detectors and by each comparison."""
    seed, names, compared, river = task
    run = traffic(seed)
    found = guarded(run, names)
    results: dict[str, tuple[Iterable[Alert], Iterable[tuple[str, str]]]] = {
        "strongroom": (found.alerts, found.blocked.elements())
    }
    if compared:
        results["fixed limits"] = over(list(levels(run)), *LIMITS), ()
        if river:
            results["half-space trees"] = above(list(Trees(seed).windows(run)), TREES), ()
    scores = {}
    for name, (alerts, blocked) in results.items():
        scores[name] = Score()
        scores[name].take(run, alerts, blocked)
    return scores


def found_in(tasks: list[tuple[int, tuple[str, ...], bool, bool]], processes: int) -> dict[str, Score]:
    """Return what is found in the traffic of all seeds together."""
    totals: dict[str, Score] = {}
    with multiprocessing.Pool(processes) as pool:
        for scores in pool.imap(found_by, tasks):
            for name, score in scores.items():
                totals.setdefault(name, Score()).add(score)
    return totals


def tune(chosen: list[int], *, river: bool) -> None:
    """Choose the limits of the comparisons, and print them."""
    reached: list[tuple[Traffic, list[Level]]] = []
    windows: list[tuple[Traffic, list[Window]]] = []
    for seed in chosen:
        run = traffic(seed)
        short = run._replace(events=[])
        reached.append((short, list(levels(run))))
        if river:
            windows.append((short, list(Trees(seed).windows(run))))
    print(f"LIMITS = {tuned_limits(reached)}")
    if river:
        print(f"TREES = {tuned_score(windows)}")


def details(score: Score, *, full: bool) -> str:
    """Return how much there was, how often it was wrong and, if wanted, about what; and what was missed."""
    lines = [
        f"{score.accesses} accesses in {score.days} days",
        f"false alerts a day: {score.false_a_day():.2f}; in the worst run {max(score.worst) / 30:.2f}",
        f"accesses of no attack that would have been blocked: {sum(score.blocked.values())}",
    ]
    if not full:
        return "\n".join(lines)
    for title, counts in (("false alerts", score.false), ("blocked", score.blocked), ("found first by", score.first)):
        for (first, second), count in Counter(counts).most_common():
            lines.append(f"  {title}: {first}, {second}: {count}")
    return "\n".join([*lines, *(f"  missed: {one}" for one in score.missed)])


def figures(score: Score) -> dict[str, object]:
    """Return a result for programs."""
    found, tried = score.found()
    return {
        "found": found,
        "attacks": tried,
        "false_alerts_a_day": score.false_a_day(),
        "blocked": sum(score.blocked.values()),
        "kinds": {kind: score.share(kind) for kind in {kind for kind, _ in score.tried}},
    }


def main() -> None:
    """Take and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="", help=f"such as 0-9,42 ({UNSEEN}, or {TUNING} with --tune)")
    parser.add_argument("--tune", action="store_true", help="choose the limits of the comparisons and print them")
    parser.add_argument("--alone", action="store_true", help="leave the comparisons out")
    parser.add_argument("--detectors", default="", help="only these, separated by commas")
    parser.add_argument("--details", action="store_true", help="print each cause of a false alert, and each miss")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many seeds at the same time (1)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    river = importlib.util.find_spec("river") is not None
    chosen = seeds(options.seeds or (TUNING if options.tune else UNSEEN))
    if options.tune:
        tune(chosen, river=river)
        return
    names = options.detectors.split(",") if options.detectors else list(specs())
    tasks = [(seed, tuple(names), not options.alone, river) for seed in chosen]
    scores = found_in(tasks, options.processes)
    if options.json:
        print(
            json.dumps({"seeds": chosen, "machine": machine()} | {n: figures(s) for n, s in scores.items()}, indent=2)
        )
        return
    print(f"seeds {options.seeds or UNSEEN}\n{machine()}\n\n{table(scores['strongroom'])}\n")
    print(details(scores["strongroom"], full=options.details))
    if not options.alone:
        print(f"\n{comparison(scores)}")
        print("" if river else "\nriver is not installed: half-space trees are left out")


if __name__ == "__main__":
    main()
