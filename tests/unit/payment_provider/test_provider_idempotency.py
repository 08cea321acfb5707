"""Keys as Stripe keeps them: the first answer again, other parameters refused, two at once refused."""

import pytest
from tests.unit.payment_provider.books import Books

from holdfast.payment_provider.errors import ApiError, ProviderResponse, refusal, server_error
from holdfast.payment_provider.idempotency import Key, KeyUnderWay, make_key, once
from holdfast.payment_provider.ledger import Ledger

PATH = "/v1/payment_intents"


class Counted:
    """Work that counts how often it was executed."""

    def __init__(self, answer: ProviderResponse | ApiError) -> None:
        self.answer = answer
        self.times = 0

    def __call__(self, ledger: Ledger) -> ProviderResponse:
        self.times += 1
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


def key(name: str = "k", path: str = PATH, **form: str) -> Key:
    made = make_key(name, path, form)
    assert made is not None
    return made


def test_the_order_of_parameters_does_not_matter_all_else_does() -> None:
    assert key(a="1", b="2") == key(b="2", a="1")
    others = [key(a="1", b="3"), key(a="1"), key(a="1", b="2", c=""), key(path="/v1/refunds", a="1", b="2")]
    assert len({key(a="1", b="2"), *others}) == 5


def test_a_value_cannot_pass_for_two_parameters() -> None:
    assert key(a="1\0b\x012") != key(a="1", b="2")


def test_no_key_is_no_key_and_a_bad_one_is_refused() -> None:
    assert make_key(None, PATH, {}) is None
    assert make_key("k" * 255, PATH, {}) is not None
    for name in ("", "k" * 256):
        with pytest.raises(ApiError) as refused:
            make_key(name, PATH, {})
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "answer",
    [
        ProviderResponse(200, b'{"id":1}'),
        ProviderResponse(402, b'{"error":{}}'),
        refusal("no", code="c"),
        server_error(500),
    ],
)
def test_the_first_answer_is_repeated_whatever_it_was(books: Books, answer: ProviderResponse) -> None:
    work = Counted(answer)
    first = books.run(lambda ledger: once(ledger, key(), work))
    second = books.run(lambda ledger: once(ledger, key(), work))
    assert first == answer
    assert second == answer._replace(replayed=True)
    assert work.times == 1


def test_what_refuses_before_executing_is_not_kept(books: Books) -> None:
    with pytest.raises(ApiError):
        books.run(lambda ledger: once(ledger, key(), Counted(ApiError(400, "no"))))
    work = Counted(ProviderResponse(200, b"{}"))
    assert not books.run(lambda ledger: once(ledger, key(), work)).replayed
    assert work.times == 1


def test_other_parameters_under_the_key_are_refused_and_change_nothing(books: Books) -> None:
    books.run(lambda ledger: once(ledger, key(amount="1"), Counted(ProviderResponse(200, b"{}"))))
    work = Counted(ProviderResponse(200, b"other"))
    with pytest.raises(ApiError, match="same endpoint and parameters") as refused:
        books.run(lambda ledger: once(ledger, key(amount="2"), work))
    assert refused.value.status == 400
    assert b'"idempotency_error"' in refused.value.body
    assert work.times == 0


def test_after_its_lifetime_a_key_is_new(books: Books) -> None:
    work = Counted(ProviderResponse(200, b"{}"))
    books.run(lambda ledger: once(ledger, key(), work))
    books.now_ms += 1000
    assert not books.run(lambda ledger: once(ledger, key(amount="2"), work)).replayed
    assert work.times == 2


def test_without_a_key_everything_executes(books: Books) -> None:
    work = Counted(ProviderResponse(200, b"{}"))
    for _ in range(2):
        books.run(lambda ledger: once(ledger, None, work))
    assert work.times == 2


def test_answer_and_effect_are_one_transaction(books: Books) -> None:
    def work(ledger: Ledger) -> ProviderResponse:
        ledger.schedule("pi_1", 1, "succeeded")
        return ProviderResponse(200, b"{}")

    books.ledger.begin()
    once(books.ledger, key(), work)
    books.ledger.rollback()
    assert books.sql("select count(*) from due") == [(0,)]
    assert books.sql("select count(*) from idempotency_keys") == [(0,)]


def test_one_key_is_in_flight_once() -> None:
    in_flight = KeyUnderWay()
    with in_flight.holding(key("a")), in_flight.holding(key("b")), in_flight.holding(None):
        assert len(in_flight) == 2
        with pytest.raises(ApiError) as refused, in_flight.holding(key("a", amount="2")):
            pass
        assert refused.value.status == 409
        assert b'"idempotency_key_in_use"' in refused.value.body
        assert len(in_flight) == 2
    with in_flight.holding(key("a")):
        assert len(in_flight) == 1
