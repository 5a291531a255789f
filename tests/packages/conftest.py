"""What the tests of packages share: the files that would be uploaded, built once in a run."""

from collections.abc import Iterator

import pytest

from wheels import Built, built_once, local_index


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist and the wheel of every distribution."""
    return built_once(tmp_path_factory)


@pytest.fixture(scope="session")
def index(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index on loopback that offers our distributions, and nothing else."""
    with local_index(built, tmp_path_factory.mktemp("index")) as url:
        yield url
