"""Cold reads of strongroom-aws, one by one and a hundred at once, beside plain boto3 and the caching library of AWS.

It starts moto's server, which emulates the service, in a process of its own and asks it over
plain HTTP on loopback. Each round asks in each way, one after the other, so that all meet the
same machine. Cold means that nothing is cached: the manager has no cache, and the library's
cache is a new one each time, in which each read costs two calls, as its own cold reads do.
Needs `boto3`, `moto[server]` and `aws-secretsmanager-caching` beside strongroom and strongroom-aws.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time

from collections.abc import Callable
from typing import Any, NamedTuple

import boto3

from _common import machine
from _server import running
from aws_secretsmanager_caching import SecretCache

import strongroom

from strongroom.contracts import ReadRequest
from strongroom.model import SecretName
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import AwsSettings

REGION = "eu-central-1"
VALUE = "correct horse battery staple, 40 chars.."
NAMES = [f"bench/secret-{number}" for number in range(100)]
BATCH = 20


class Ways:
    """Every way to read.

    Args:
        address: The emulator's URL.
    """

    def __init__(self, address: str) -> None:
        self.client: Any = boto3.client("secretsmanager", region_name=REGION, endpoint_url=address)
        self.backend = AwsBackend.open(AwsSettings(region=REGION, endpoint=address))
        aws = {"type": "aws", "region": REGION, "endpoint": address}
        self.manager = strongroom.open({"audit": "none", "backends": {"aws": aws}, "cache": {"policy": "none"}})

    def boto3_one(self, name: str) -> object:
        return self.client.get_secret_value(SecretId=name)["SecretString"]

    def caching_one(self, name: str) -> object:
        return SecretCache(client=self.client).get_secret_string(name)

    def backend_one(self, name: str) -> object:
        return self.backend.read(ReadRequest(name=SecretName(name))).value

    def manager_one(self, name: str) -> object:
        return self.manager.get(name).value

    def boto3_reads(self) -> object:
        return [self.boto3_one(name) for name in NAMES]

    def boto3_batches(self) -> object:
        pages = [NAMES[at : at + BATCH] for at in range(0, len(NAMES), BATCH)]
        return [self.client.batch_get_secret_value(SecretIdList=page)["SecretValues"] for page in pages]

    def caching_reads(self) -> object:
        cache = SecretCache(client=self.client)
        return [cache.get_secret_string(name) for name in NAMES]

    def manager_batch(self) -> object:
        batch = self.manager.get_many(NAMES, strict=True)
        assert len(batch.found) == len(NAMES)
        return batch


class Figure(NamedTuple):
    """What one way came to."""

    operation: str
    way: str
    median: float
    """Milliseconds for the operation, as whoever waits for it sees it."""
    to_boto3: float
    """How many times as long as plain boto3 in the same round; the median of all rounds."""


def measured(operation: str, ways: dict[str, Callable[[], object]], repeat: int, times: int) -> list[Figure]:
    """Return the figures of all ways, which take turns; the first is what the others are compared with."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeat + 1):
        for name, call in ways.items():
            begun = time.perf_counter()
            for _ in range(times):
                call()
            # The first round opens connections.
            if number:
                taken[name].append((time.perf_counter() - begun) / times * 1e3)
    first = next(iter(taken.values()))
    return [
        Figure(
            operation,
            name,
            statistics.median(those),
            statistics.median(one / other for one, other in zip(those, first, strict=True)),
        )
        for name, those in taken.items()
    ]


def each(call: Callable[[str], object]) -> Callable[[], object]:
    """Return a function that reads another name each time."""
    names = iter(NAMES * 10_000)
    return lambda: call(next(names))


def emulator() -> contextlib.AbstractContextManager[str]:
    """Start the emulator; lend its URL."""
    program = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1"]
    return running(lambda port: [*program, "-p", str(port)], "/moto-api/data.json")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=9, metavar="N", help="how many rounds (9)")
    parser.add_argument("--reads", type=int, default=200, metavar="N", help="how many single reads a round (200)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[variable]
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    with emulator() as address:
        ways = Ways(address)
        for name in NAMES:
            ways.client.create_secret(Name=name, SecretString=VALUE)
        single = {
            "boto3": each(ways.boto3_one),
            "caching library": each(ways.caching_one),
            "the backend": each(ways.backend_one),
            "the manager": each(ways.manager_one),
        }
        several = {
            "boto3, reads": ways.boto3_reads,
            "caching library": ways.caching_reads,
            "boto3, batches": ways.boto3_batches,
            "the manager": ways.manager_batch,
        }
        figures = measured("one read", single, options.repeat, options.reads)
        figures += measured("a hundred", several, options.repeat, 2)
        ways.manager.close()
        ways.backend.close()
    if options.json:
        json.dump({"machine": machine(), "figures": [one._asdict() for one in figures]}, sys.stdout, indent=2)
        print()
        return
    print(f"strongroom-aws against plain boto3 and aws-secretsmanager-caching\n{machine()}\n")
    print("operation  way             median ms  x boto3")
    for one in figures:
        print(f"{one.operation.ljust(9)}  {one.way.ljust(14)}  {one.median:9.3f}  {one.to_boto3:7.3f}")


if __name__ == "__main__":
    main()
