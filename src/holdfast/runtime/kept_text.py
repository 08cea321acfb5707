"""Refuses a client's text that holds a card number, before it is stored; the same refusal on every endpoint.

`contracts.card_numbers` defines a card number; docs/security.md says where each endpoint's text is stored.
"""

import json
from typing import Any

from holdfast.contracts.card_numbers import holds_card_number
from holdfast.runtime.problems import CARD_NUMBER_REFUSED, FieldError, Problem

SAID = "holds what looks like a card number"
INSTEAD = "send the provider's token instead"


def refuse_card_number(text: str, pointer: str) -> None:
    """Refuse a text that holds a card number; `pointer` names its field. Raises Problem."""
    if holds_card_number(text):
        raise refusal(pointer)


def refuse_card_numbers(body: bytes) -> None:
    """Refuse a JSON body that holds a card number, in any field and any spelling. Raises Problem."""
    if holds_card_number(body):
        raise refusal(_pointer_in(body))


def refusal(pointer: str) -> Problem:
    """Make the refusal; `pointer` is empty if no field can be named."""
    where = pointer or "the body"
    errors = [FieldError(pointer, SAID)] if pointer else []
    return Problem(CARD_NUMBER_REFUSED, f"{where} {SAID}; {INSTEAD}", errors=errors)


def _pointer_in(body: bytes) -> str:
    """Return the JSON pointer of the first value that holds a card number, or "" if none may be shown."""
    try:
        below: list[tuple[str, Any]] = [("", json.loads(body))]
    except (ValueError, RecursionError):
        return ""
    while below:
        pointer, value = below.pop(0)
        if isinstance(value, dict):
            below += [(f"{pointer}/{name}", each) for name, each in value.items() if name.isidentifier()]
        elif isinstance(value, list):
            below += [(f"{pointer}/{index}", each) for index, each in enumerate(value)]
        elif holds_card_number(str(value)) and not holds_card_number(pointer):
            return pointer
    return ""
