"""One running proxy per module and kind; every test starts from the same scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.lab import Lab, default_config


@pytest.fixture(scope="package")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """A proxy of an HTTP/1.1 application, connected to an operator."""
    shared_lab.reset()
    return shared_lab


@pytest.fixture(scope="package")
def shared_grpc_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("grpc"), config=replace(default_config(), protocol="HTTP2"))
    yield lab
    lab.close()


@pytest.fixture
def grpc_lab(shared_grpc_lab: Lab) -> Lab:
    """A proxy of an HTTP/2 application, connected to an operator."""
    shared_grpc_lab.reset()
    return shared_grpc_lab
