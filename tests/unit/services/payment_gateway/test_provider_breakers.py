"""Each kind of call to the provider has a breaker of its own, which one payment alone never opens."""

from collections.abc import Iterator

import pytest
from tests.samples import saga_id
from tests.unit.services.payment_gateway.test_stripe_provider import PAYMENT, Stub, StubClient, ask, fail_all

from holdfast.services.payment_gateway.domain import (
    NotSent,
    ProviderCall,
    ProviderRequest,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.stripe_provider import StripeProvider


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def provider(stub: Stub) -> Iterator[StripeProvider]:
    provider = StripeProvider("http://provider.test", "sk_test", 5.0)
    provider._client = StubClient(stub)
    yield provider
    provider.close()


def test_refunds_that_fail_keep_nobody_from_paying_nor_the_other_way_round(
    provider: StripeProvider, stub: Stub
) -> None:
    fail_all(provider, stub, ProviderRequest.REFUND)
    assert isinstance(ask(provider, ProviderRequest.REFUND), NotSent)
    stub.answers(200, {"id": "pi_1", "status": "succeeded"})
    assert ask(provider, ProviderRequest.CHARGE) == Succeeded("pi_1")
    fail_all(provider, stub, ProviderRequest.CHARGE)
    assert isinstance(ask(provider, ProviderRequest.CHARGE, PAYMENT._replace(saga_id=saga_id(99))), NotSent)
    assert provider.look_up_breaker.state == "closed"


def test_one_payment_that_fails_again_and_again_opens_no_breaker(
    provider: StripeProvider, stub: Stub
) -> None:
    stub.answers(500, {})
    for attempt in range(1, 100):
        [answer] = provider.call([ProviderCall(ProviderRequest.CHARGE, PAYMENT, attempt)])
        assert answer == Unknown("http_500")
    assert provider.breaker.state == "closed"


def test_a_locked_object_is_told_from_too_many_requests(provider: StripeProvider, stub: Stub) -> None:
    stub.answers(429, {"error": {"code": "lock_timeout"}})
    assert ask(provider, ProviderRequest.CHARGE) == Unknown("http_429_lock_timeout")
    stub.answers(429, {"error": {"code": "rate_limit"}})
    assert ask(provider, ProviderRequest.CHARGE) == Unknown("http_429")
