"""A small study's data; tests/browser uses the same."""

import pytest
from reader_cases import SETTINGS, write_shards, write_stack

from msdiff.sampling.shards import load_shard
from msdiff.stack.reading import load_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    write_stack(folder)
    return load_stack(folder)


@pytest.fixture(scope="session")
def shard_folders(stack, tmp_path_factory):
    return write_shards(stack.folder, tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="session")
def shards(shard_folders):
    return [load_shard(folder) for folder in shard_folders]


@pytest.fixture(scope="session")
def settings():
    return dict(SETTINGS)
