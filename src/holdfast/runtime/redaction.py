"""Removes card numbers, check codes and secrets from log lines. `kept_text` refuses card numbers before.

It finds only what its form gives away; our own log lines never contain such values.
"""

import re
from collections.abc import Mapping
from typing import Any

from holdfast.contracts.card_numbers import mask_card_numbers

MASK = "***"

_NAME = re.compile(r"(?i)authorization|password|secret|token|\bcv[cv]2?\b")
_SECRET = re.compile(
    r"(?i)((?:\bbearer\s+|://[^/\s:@]*:(?=[^/\s@]+@)"  # in a header, in a URL
    r"|\b(?:password|secret|cv[cv]2?)[\"']?\s*[=:]\s*[\"']?))[^\s\"'@,;&}]+"
    r"|\b(?:sk|rk|whsec)_\w+|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # keys of the provider, tokens
)


def redact(value: Any) -> Any:
    """Return a value as a log may show it: unchanged if there is nothing to hide. Handles any depth."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, Mapping):
        return {
            redact_text(str(name)): MASK if _NAME.search(str(name)) else redact(each)
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(each) for each in value]
    text = str(value)
    shown = redact_text(text)
    return value if isinstance(value, int) and shown == text else shown


def redact_text(text: str) -> str:
    """Return a text in which possible card numbers and secrets are masked."""
    return _SECRET.sub(lambda found: (found[1] or "") + MASK, mask_card_numbers(text))
