"""What each card does, what a refund may give back, and how late ends come."""

import json

import pytest
from tests.unit.payment_provider.books import Books, body

from holdfast.payment_provider import operations
from holdfast.payment_provider.cards import CARDS
from holdfast.payment_provider.errors import ApiError
from holdfast.payment_provider.operations import Later


def charged(books: Books, payment_method: str = "pm_card_visa", amount: int = 1000) -> str:
    return str(body(books.charge(payment_method, amount=amount))["latest_charge"])


def test_a_good_card_is_charged(books: Books) -> None:
    answer = books.charge("pm_card_visa", amount=1234)
    intent = body(answer)
    assert answer.status == 200
    assert (intent["object"], intent["status"]) == ("payment_intent", "succeeded")
    assert (intent["amount"], intent["amount_received"], intent["currency"]) == (1234, 1234, "gbp")
    assert intent["metadata"] == {"saga_id": "saga"}
    charge = books.ledger.object(intent["latest_charge"])
    assert charge is not None
    assert (charge["paid"], charge["captured"], charge["payment_intent"]) == (True, True, intent["id"])
    assert books.prov() == [("charge", "ok", 1234, "GBP", "saga", "do")]


@pytest.mark.parametrize(
    ("payment_method", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
def test_a_bad_card_is_declined(books: Books, payment_method: str, code: str, decline_code: str) -> None:
    answer = books.charge(payment_method)
    error = body(answer)["error"]
    assert answer.status == 402
    assert (error["type"], error["code"], error["decline_code"]) == ("card_error", code, decline_code)
    intent = error["payment_intent"]
    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["decline_code"] == decline_code
    assert intent["amount_received"] == 0
    assert books.ledger.object(intent["id"]) == intent
    assert books.prov() == [("charge", "declined", 1000, "GBP", "saga", "do")]


def test_every_other_card_is_charged() -> None:
    assert {name for name, card in CARDS.items() if card.decline is None} == {
        "pm_card_visa",
        "pm_card_visa_debit",
        "pm_card_mastercard",
        "pm_card_amex",
        "pm_card_discover",
        "pm_card_diners",
        "pm_card_jcb",
        "pm_card_unionpay",
        "pm_card_pendingRefund",
        "pm_card_refundFail",
    }


def test_a_refund_without_an_amount_gives_back_all_that_is_left(books: Books) -> None:
    charge = charged(books)
    assert body(books.refund(charge, 300))["amount"] == 300
    assert books.ledger.object(charge)["refunded"] is False  # type: ignore[index]
    refund = body(books.refund(charge, key="undo-2", metadata={"why": "test"}))
    assert (refund["object"], refund["status"], refund["amount"]) == ("refund", "succeeded", 700)
    assert (refund["charge"], refund["metadata"]) == (charge, {"why": "test"})
    after = books.ledger.object(charge)
    assert after is not None
    assert (after["amount_refunded"], after["refunded"], after["status"]) == (1000, True, "succeeded")


def test_a_second_refund_under_another_key_is_refused(books: Books) -> None:
    charge = charged(books)
    books.refund(charge)
    answer = books.refund(charge, key="again")
    assert answer.status == 400
    assert body(answer)["error"]["code"] == "charge_already_refunded"
    assert [row[0] for row in books.prov()] == ["charge", "refund"]


def test_a_refund_above_what_is_left_is_refused(books: Books) -> None:
    charge = charged(books)
    books.refund(charge, 600)
    answer = books.refund(charge, 401, key="again")
    assert (answer.status, body(answer)["error"]["param"]) == (400, "amount")
    assert sum(row[2] for row in books.prov() if row[0] == "refund") == 600


def test_a_declined_charge_has_nothing_to_refund(books: Books) -> None:
    error = body(books.charge("pm_card_chargeDeclined"))["error"]
    answer = books.refund(error["charge"])
    assert (answer.status, body(answer)["error"]["code"]) == (400, "payment_intent_unexpected_state")


def test_a_refund_belongs_to_the_saga_that_it_names_or_else_to_the_charges(books: Books) -> None:
    charge = charged(books)
    books.refund(charge, 1)
    books.refund(charge, 2, key="other", metadata={"saga_id": "named"})
    assert sorted((row[2], row[4]) for row in books.prov() if row[0] == "refund") == [
        (1, "saga"),
        (2, "named"),
    ]


def test_an_unknown_charge_is_not_refunded_and_nothing_is_kept(books: Books) -> None:
    with pytest.raises(ApiError) as refused:
        books.refund("ch_nobody")
    assert refused.value.status == 404


def test_a_pending_refund_succeeds_later(books: Books) -> None:
    charge = charged(books, "pm_card_pendingRefund")
    refund = body(books.refund(charge))
    assert refund["status"] == "pending"
    assert ("refund", "pending") in [row[:2] for row in books.prov()]
    assert books.end_due() == 0
    books.now_ms += 1000
    assert books.end_due() == 1
    assert books.ledger.object(refund["id"])["status"] == "succeeded"  # type: ignore[index]
    assert ("refund", "ok") in [row[:2] for row in books.prov()]


def test_a_refund_can_fail_after_it_had_succeeded(books: Books) -> None:
    charge = charged(books, "pm_card_refundFail")
    refund = body(books.refund(charge))
    assert refund["status"] == "succeeded"
    books.now_ms += 1000
    books.end_due()
    assert books.ledger.object(refund["id"])["status"] == "failed"  # type: ignore[index]
    assert books.ledger.object(charge)["amount_refunded"] == 0  # type: ignore[index]
    assert ("refund", "failed") in [row[:2] for row in books.prov()]
    assert body(books.refund(charge, key="again"))["amount"] == 1000


@pytest.mark.parametrize(
    ("ends", "status", "stands"),
    [("succeeded", "succeeded", "ok"), ("failed", "requires_payment_method", "declined")],
)
def test_a_charge_can_be_processing_first(books: Books, ends: str, status: str, stands: str) -> None:
    answer = books.charge(later=Later(500, ends))  # type: ignore[arg-type]
    intent = body(answer)
    assert (answer.status, intent["status"], intent["amount_received"]) == (200, "processing", 0)
    assert books.prov()[0][:2] == ("charge", "pending")
    early = books.refund(intent["latest_charge"])
    assert body(early)["error"]["code"] == "payment_intent_unexpected_state"
    books.now_ms += 500
    books.end_due()
    assert books.ledger.object(intent["id"])["status"] == status  # type: ignore[index]
    assert [row[:2] for row in books.prov()] == [("charge", stands)]
    assert books.end_due() == 0


def test_a_declining_card_declines_even_where_its_end_was_to_be_good(books: Books) -> None:
    intent = body(books.charge("pm_card_chargeDeclinedLostCard", later=Later(0, "succeeded")))
    assert intent["status"] == "processing"
    books.end_due()
    ended = books.ledger.object(intent["id"])
    assert ended is not None
    assert ended["last_payment_error"]["decline_code"] == "lost_card"


def test_an_end_to_come_survives_a_restart(books: Books) -> None:
    intent = body(books.charge(later=Later(500, "succeeded")))
    books.ledger.close()
    again = Books(books.path)
    again.now_ms += 500
    assert again.ledger.has_due()
    assert again.end_due() == 1
    assert again.ledger.object(intent["id"])["status"] == "succeeded"  # type: ignore[index]


def test_a_declined_intent_can_be_canceled_once(books: Books) -> None:
    intent = body(books.charge("pm_card_chargeDeclined"))["error"]["payment_intent"]
    canceled = body(books.run(lambda ledger: operations.cancel(ledger, intent["id"], "abandoned")))
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")
    again = books.run(lambda ledger: operations.cancel(ledger, intent["id"], None))
    assert body(again)["error"]["code"] == "payment_intent_unexpected_state"


def test_a_paid_intent_cannot_be_canceled(books: Books) -> None:
    intent = body(books.charge())
    answer = books.run(lambda ledger: operations.cancel(ledger, intent["id"], None))
    assert (answer.status, books.prov()[0][1]) == (400, "ok")


def test_lists_are_pages_newest_first(books: Books) -> None:
    refs = [charged(books) for _ in range(5)]
    first = books.ledger.page("charge", intent=None, after=None, limit=2)
    assert [charge["id"] for charge in first] == refs[:2:-1]
    second = books.ledger.page("charge", intent=None, after=refs[3], limit=10)
    assert [charge["id"] for charge in second] == refs[2::-1]


def test_a_saga_is_found_with_all_its_intents_newest_first(books: Books) -> None:
    refs = [body(books.charge(key=f"k{n}"))["id"] for n in range(3)]
    books.charge(key="foreign", saga_id="other")
    assert [intent["id"] for intent in books.ledger.intents_of("saga")] == refs[::-1]


def test_a_list_shows_objects_as_they_stand_now(books: Books) -> None:
    charge = charged(books)
    other = charged(books)
    refund = body(books.refund(charge))
    (listed,) = books.ledger.page("refund", intent=refund["payment_intent"], after=None, limit=10)
    assert listed == refund
    by_id = {one["id"]: one for one in books.ledger.page("charge", intent=None, after=None, limit=10)}
    assert (by_id[charge]["refunded"], by_id[other]["refunded"]) == (True, False)


def test_the_ledger_holds_the_very_object_that_was_answered(books: Books) -> None:
    answer = books.charge()
    (text,) = books.sql("select object from entries where kind = 'intent'")[0]
    assert json.loads(text) == json.loads(answer.body)
