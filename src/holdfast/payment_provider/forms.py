"""Form-encoded parameters, checked as Stripe checks them before anything executes.

`operations` does what the parameters ask for.
"""

import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import parse_qsl

from holdfast.payment_provider.cards import CARDS, split_token
from holdfast.payment_provider.errors import ApiError, missing
from holdfast.payment_provider.fault_rules import ScriptError, parse_script
from holdfast.payment_provider.operations import SCRIPT_KEY, ChargeParams

AMOUNT_MAX = (
    999_999_999_999  # twelve digits: more than Stripe takes, so that a large basket is not refused by size
)
LIMIT_MAX = 100
METADATA_MAX = 50

_CURRENCY = re.compile("[a-z]{3}")
_METADATA = re.compile(r"metadata\[([^\[\]]{1,40})\]")
_QUERY = re.compile(r"""\s*metadata\[(?:'saga_id'|"saga_id")\]\s*:\s*(?:'([^']+)'|"([^"]+)")\s*""")

CHARGE_FIELDS = frozenset({"amount", "currency", "payment_method", "confirm", "description"})
REFUND_FIELDS = frozenset({"payment_intent", "charge", "amount", "reason"})
CANCEL_FIELDS = frozenset({"cancellation_reason"})
# Parameters that clients commonly send to Stripe, and that change nothing here.
IGNORED = frozenset(
    {
        "customer",
        "error_on_requires_action",
        "off_session",
        "receipt_email",
        "return_url",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "payment_method_types[]",
        "payment_method_types[0]",
        "expand[]",
        "expand[0]",
        "automatic_payment_methods[enabled]",
        "automatic_payment_methods[allow_redirects]",
    }
)

Form = dict[str, str]


def parse_form(body: bytes) -> Form:
    """Return the parameters of a body or of a query string."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise ApiError(400, f"Invalid form-encoded parameters: {error}") from error
    form = dict(pairs)
    if len(form) < len(pairs):
        raise ApiError(400, "A parameter was given twice.")
    return form


def check_fields(form: Form, known: Iterable[str]) -> None:
    """Refuse a parameter that Stripe would not know, without repeating its value."""
    for field in form:
        if field not in known and field not in IGNORED and not _METADATA.fullmatch(field):
            raise ApiError(
                400, f"Received unknown parameter: {field[:80]}", code="parameter_unknown", param=field[:80]
            )


def metadata_of(form: Form) -> dict[str, str]:
    found = {
        match[1]: value for field, value in form.items() if value and (match := _METADATA.fullmatch(field))
    }
    if len(found) > METADATA_MAX or any(len(value) > 500 for value in found.values()):
        raise ApiError(400, "Metadata has at most 50 keys of at most 500 characters.", param="metadata")
    return found


def charge_params(form: Form) -> ChargeParams:
    """Return the charge that a form asks for; refuse an unknown payment method or script."""
    check_fields(form, CHARGE_FIELDS)
    currency = _required(form, "currency").lower()
    if not _CURRENCY.fullmatch(currency):
        raise ApiError(400, f"Invalid currency: {currency[:8]}", param="currency")
    if _required(form, "confirm") != "true":
        _invalid("confirm", "This simulator confirms an intent at once: confirm must be true.")
    payment_method = _required(form, "payment_method")
    name, script = split_token(payment_method)
    try:
        card = CARDS[name]
        parse_script(script)
    except (KeyError, ScriptError) as error:
        raise missing("PaymentMethod", payment_method[:200], param="payment_method", status=400) from error
    return ChargeParams(
        amount=amount_of(form),
        currency=currency,
        payment_method=payment_method,
        card=card,
        metadata=scripted_metadata(form),
        description=form.get("description") or None,
    )


def scripted_metadata(form: Form) -> dict[str, str]:
    """Return the metadata; its script, if any, must be valid."""
    metadata = metadata_of(form)
    try:
        parse_script(metadata.get(SCRIPT_KEY, ""))
    except ScriptError as error:
        raise ApiError(400, str(error), code="parameter_invalid", param=f"metadata[{SCRIPT_KEY}]") from error
    return metadata


def amount_of(form: Form) -> int:
    """Return the amount, positive and in minor units."""
    text = _required(form, "amount")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        _invalid("amount", f"Invalid integer: {text[:20]}", code="parameter_invalid_integer")
    amount = int(text)
    if not 0 < amount <= AMOUNT_MAX:
        _invalid("amount", "This value must be greater than or equal to 1.", code="parameter_invalid_integer")
    return amount


def limit_of(form: Form) -> int:
    """Return how many objects a page holds."""
    text = form.get("limit", "10")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 0 < int(text) <= LIMIT_MAX):
        _invalid("limit", f"A limit is a number from 1 to {LIMIT_MAX}.", code="parameter_invalid_integer")
    return int(text)


def saga_of(form: Form) -> str:
    """Return the saga that a search asks for: `metadata['saga_id']:'...'` is the one query known here."""
    found = _QUERY.fullmatch(_required(form, "query"))
    if found is None:
        _invalid("query", "Only this query is known here: metadata['saga_id']:'...'")
    return found[1] or found[2]


def _required(form: Form, field: str) -> str:
    value = form.get(field, "")
    if not value:
        raise ApiError(400, f"Missing required param: {field}.", code="parameter_missing", param=field)
    return value


def _invalid(param: str, message: str, *, code: str = "parameter_invalid") -> NoReturn:
    raise ApiError(400, message, code=code, param=param)
