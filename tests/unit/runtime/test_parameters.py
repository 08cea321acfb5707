"""What stands outside the body: ids in one form, queries with known parameters, once each, of one line."""

from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.samples import saga_id

from holdfast.runtime.parameters import is_uuid, query
from holdfast.runtime.problems import Problem

NAMES = ("after", "limit")


def request(query_string: str) -> Request:
    scope = {"type": "http", "query_string": query_string.encode("latin-1"), "headers": [], "path": "/"}
    return Request(scope)


def wrong(query_string: str) -> list[str]:
    with pytest.raises(Problem) as caught:
        query(request(query_string), *NAMES)
    assert caught.value.kind.status == 422
    return [error.pointer for error in caught.value.errors]


def test_known_parameters_are_read() -> None:
    assert query(request("limit=5&after=caf%C3%A9"), *NAMES) == {"limit": "5", "after": "caf\u00e9"}
    assert query(request(""), *NAMES) == {}
    assert query(request("after="), *NAMES) == {"after": ""}


@pytest.mark.parametrize(
    ("query_string", "pointers"),
    [
        ("nonsense=1", [""]),
        ("a=1&b=2", [""]),
        ("limit=1&limit=1", ["/limit"]),
        ("limit=1&limit=2&x=%00", ["/limit", ""]),
        ("after=a%00b", ["/after"]),
        ("after=a%0a", ["/after"]),
        ("after=%7f", ["/after"]),
        ("after=" + "x" * 301, ["/after"]),
    ],
)
def test_anything_else_is_refused_by_name_and_without_a_word_of_the_clients(
    query_string: str, pointers: list[str]
) -> None:
    assert wrong(query_string) == pointers


@given(st.lists(st.tuples(st.sampled_from(["after", "limit", "x", "\x00"]), st.text(max_size=8)), max_size=4))
def test_whatever_is_asked_is_read_or_refused_and_never_a_bug(pairs: list[tuple[str, str]]) -> None:
    text = "&".join(f"{quote(name)}={quote(value, errors='replace')}" for name, value in pairs)
    names = [name for name, _ in pairs]
    plain = all(c >= " " and c != "\x7f" for _, value in pairs for c in value)
    if plain and len(set(names)) == len(names) and set(names) <= set(NAMES):
        assert set(query(request(text), *NAMES)) == set(names)
    else:
        assert wrong(text)


@given(st.uuids())
def test_a_uuid_has_one_form(uuid: UUID) -> None:
    assert is_uuid(str(uuid))
    for other in (uuid.hex, f"{{{uuid}}}", uuid.urn, f"{uuid}\n", f" {uuid}", f"\u0660{str(uuid)[1:]}"):
        assert not is_uuid(other)
    assert str(uuid).upper() == str(uuid) or not is_uuid(str(uuid).upper())
    assert is_uuid(saga_id(1))
