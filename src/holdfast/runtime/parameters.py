"""Reads a request's path and query parameters. Their size is bounded, and errors never repeat a value."""

import re
from collections.abc import Mapping

from starlette.requests import Request

from holdfast.contracts.http_api import NAME_PATTERN, UUID_PATTERN
from holdfast.runtime.kept_text import refuse_card_number
from holdfast.runtime.problems import INVALID_REQUEST, NOT_FOUND, FieldError, Problem

QUERY_VALUE_CHARACTERS_MAX = 300
PAGE_DEFAULT = 100
PAGE_MAX = 1_000

_NAME = re.compile(NAME_PATTERN)
_UUID = re.compile(UUID_PATTERN)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_uuid(text: str) -> bool:
    """Tell whether this is a UUID in its canonical form."""
    return _UUID.match(text) is not None


def name_in_path(request: Request, parameter: str) -> str:
    """Return an id or a code from the path. Raises Problem: 404 if it has not the form of one."""
    name: str = request.path_params[parameter]
    if not _NAME.match(name):
        detail = f"a {parameter} is 1 to 64 letters, digits, dots, dashes or underscores"
        raise Problem(NOT_FOUND, detail)
    refuse_card_number(name, f"/{parameter}")
    return name


def query(request: Request, *names: str) -> dict[str, str]:
    """Return the query's parameters; only these `names` are allowed, each once. Raises Problem.

    Their values are text of one line and bounded length; the caller checks everything else.
    """
    wrong: list[FieldError] = []
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in names:
            wrong.append(FieldError("", "an unknown parameter"))
        elif name in found:
            wrong.append(FieldError(f"/{name}", "stands here more than once"))
        elif len(value) > QUERY_VALUE_CHARACTERS_MAX or _CONTROL.search(value):
            wrong.append(FieldError(f"/{name}", "has a wrong form"))
        found[name] = value
    if wrong:
        raise Problem(INVALID_REQUEST, errors=list(dict.fromkeys(wrong)))
    return found


def page_in_query(request: Request) -> tuple[str, int]:
    """Return the code after which the page begins (empty: the first page) and its size. Raises Problem."""
    asked = query(request, "after", "limit")
    after = asked.get("after", "")
    if after and not _NAME.match(after):
        raise Problem(INVALID_REQUEST, errors=[FieldError("/after", "must be the `next` of the page before")])
    refuse_card_number(after, "/after")
    return after, page_size(asked)


def page_size(asked: Mapping[str, str], default: int = PAGE_DEFAULT, most: int = PAGE_MAX) -> int:
    """Return how many rows this query asks for on a page. Raises Problem."""
    text = asked.get("limit", str(default))
    if len(text) <= 9 and text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text)
    raise Problem(INVALID_REQUEST, errors=[FieldError("/limit", f"must be a whole number from 1 to {most}")])
