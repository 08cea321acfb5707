"""Statements as they are prepared, and parameters as PostgreSQL reads them."""

import re
from importlib import resources

import pytest

from holdfast.bus.postgres import wire as postgres_wire
from holdfast.bus.postgres.wire import statement

STATEMENTS = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("holdfast.bus.postgres").joinpath("sql").iterdir()
    if file.name.endswith(".sql")
)


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_named_verb_noun_and_numbered_from_one(name: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    found = statement(name)
    numbers = {int(number) for number in re.findall(rb"\$(\d+)", found.text)}
    assert numbers == set(range(1, len(found.parameters) + 1))
    assert b"%(" not in found.text


def test_a_parameter_that_occurs_twice_is_sent_once() -> None:
    found = statement("renew_leases")
    assert [name for name, _ in found.parameters] == ["group", "me", "topics", "lease_s"]
    assert found.types == (25, 25, 1009, 701)


def test_a_type_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_wire, "sql_text", lambda _: "select %(x)b::jsonb")
    with pytest.raises(KeyError, match="jsonb"):
        statement("unknown_type")


def test_arrays_are_encoded_in_binary_form() -> None:
    encoders = dict(statement("publish_batch").parameters)
    assert encoders["lines"]([]) == bytes.fromhex("00000000 00000000 00000011")
    assert encoders["partitions"]([5]) == bytes.fromhex(
        "00000001 00000000 00000017 00000001 00000001 00000004 00000005"
    )
