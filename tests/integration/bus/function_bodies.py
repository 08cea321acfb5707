"""The statements inside the bus's functions, prepared by themselves, so that EXPLAIN shows their plans."""

import re
from typing import Any

import psycopg

_STATEMENT = re.compile(r"(return query\s+)?(with|select|insert|update|delete)\s", re.IGNORECASE)


def prepare_statements(session: psycopg.Connection[Any], function: str) -> list[str]:
    """Prepare every statement of this function with its parameters as plpgsql would; return their names."""
    row = session.execute(
        "select prosrc, proargnames[1:pronargs], proargtypes::regtype[]::text[] from pg_proc "
        "where proname = %s and pronamespace = current_schema()::regnamespace",
        [function],
    ).fetchone()
    assert row is not None, f"there is no function {function}"
    source, names, types = row
    body = source.partition("begin\n")[2].rpartition("end")[0]
    prepared: list[str] = []
    for text in (part.strip() for part in body.split(";\n")):
        if _STATEMENT.match(text):
            prepared.append(f"{function}_{len(prepared)}")
            session.execute(f"prepare {prepared[-1]} ({', '.join(types)}) as {_as_sql(text, names)}".encode())
    assert prepared, f"{function} holds no statement"
    return prepared


def _as_sql(text: str, names: list[str]) -> str:
    text = re.sub(r"^return query\s+", "", text)
    text = re.sub(r"\binto (refused|deleted)\b", "", text)
    for number, name in enumerate(names, 1):
        text = re.sub(rf"\b{name}\b", f"${number}", text)
    return text
