"""What must never stand in a log: card numbers, check codes, secrets. The second line: bodies are refused.

Only what can be told by its looks is found; our own log lines name no such thing.
"""

import re
from collections.abc import Mapping
from typing import Any

from holdfast.contracts.card_numbers import mask_card_numbers

MASK = "***"

_NAME = re.compile(r"(?i)authorization|password|secret|token|\bcv[cv]2?\b")
_SECRET = re.compile(
    r"(?i)((?:\bbearer\s+|://[^/\s:@]*:(?=[^/\s@]+@)"  # of a header, of a URL
    r"|\b(?:password|secret|cv[cv]2?)[\"']?\s*[=:]\s*[\"']?))[^\s\"'@,;&}]+"
    r"|\b(?:sk|rk|whsec)_\w+|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # keys of the provider, tokens
)


def redact(value: Any) -> Any:
    """Return what a log may show of a value: the same where there is nothing to hide, of any depth."""
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
    """Return a text without what may be a card number or a secret."""
    return _SECRET.sub(lambda found: (found[1] or "") + MASK, mask_card_numbers(text))
