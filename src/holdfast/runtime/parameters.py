"""Reading what stands outside the body: names in the path, pages in the query. Bounded, and never echoed."""

import re

from starlette.requests import Request

from holdfast.contracts.http_api import NAME_PATTERN, UUID_PATTERN
from holdfast.runtime.kept_text import refuse_card_number
from holdfast.runtime.problems import INVALID_REQUEST, NOT_FOUND, FieldError, Problem

PAGE_DEFAULT = 100
PAGE_MAX = 1_000

_NAME = re.compile(NAME_PATTERN)
_UUID = re.compile(UUID_PATTERN)


def is_uuid(text: str) -> bool:
    """Tell whether this is a UUID in its canonical form."""
    return _UUID.match(text) is not None


def name_in_path(request: Request, parameter: str) -> str:
    """Return an id or a code from the path. Raises Problem: what has not the form of one cannot exist."""
    name: str = request.path_params[parameter]
    if not _NAME.match(name):
        detail = f"a {parameter} is 1 to 64 letters, digits, dots, dashes or underscores"
        raise Problem(NOT_FOUND, detail)
    refuse_card_number(name, f"/{parameter}")
    return name


def page_in_query(request: Request) -> tuple[str, int]:
    """Return the code after which a page begins (empty: at the first) and its size. Raises Problem."""
    after = request.query_params.get("after", "")
    if after and not _NAME.match(after):
        raise Problem(INVALID_REQUEST, errors=[FieldError("/after", "must be the `next` of the page before")])
    refuse_card_number(after, "/after")
    return after, page_size(request)


def page_size(request: Request, default: int = PAGE_DEFAULT, most: int = PAGE_MAX) -> int:
    """Return how many rows are wanted on a page. Raises Problem."""
    text = request.query_params.get("limit", str(default))
    if len(text) <= 9 and text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text)
    raise Problem(INVALID_REQUEST, errors=[FieldError("/limit", f"must be a whole number from 1 to {most}")])
