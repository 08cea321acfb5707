"""One provider for all tests of a module; each test starts without scripted misbehaviour."""

from collections.abc import Iterator

import pytest
from tests.integration.payment_provider.provider_process import ProviderProcess, running


@pytest.fixture(scope="module")
def shared_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: ProviderProcess) -> ProviderProcess:
    shared_provider.client.delete("/admin/behaviour")
    return shared_provider
