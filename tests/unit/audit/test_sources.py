"""Sources from a file: what production gives an auditor instead of a data folder."""

import json
from pathlib import Path

import pytest

from holdfast.audit import KafkaSource, PostgresSource
from holdfast.audit.sources import InvalidSources, of_file
from holdfast.contracts.topics import SERVICES

SERVICE_FIELDS = ("gateway", "orchestrator", "inventory", "payment", "order", "cart")
GOOD = {name: f"host={name}" for name in SERVICE_FIELDS} | {
    "bus": {"kind": "postgres", "dsn": "host=bus"},
    "ledger": "/var/lib/provider/ledger.sqlite",
}


def written(folder: Path, content: object) -> Path:
    file = folder / "sources.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_a_file_names_every_book(tmp_path: Path) -> None:
    sources = of_file(written(tmp_path, GOOD))
    assert sources.bus == PostgresSource("host=bus")
    assert sources.ledger == Path("/var/lib/provider/ledger.sqlite")
    assert set(sources.dsns()) == set(SERVICES)
    assert sorted(sources.dsns().values()) == sorted(f"host={name}" for name in SERVICE_FIELDS)


def test_kafka_takes_options(tmp_path: Path) -> None:
    bus = {"kind": "kafka", "bootstrap": "a:9092,b:9092", "options": {"security.protocol": "SSL"}}
    sources = of_file(written(tmp_path, GOOD | {"bus": bus}))
    assert sources.bus == KafkaSource("a:9092,b:9092", {"security.protocol": "SSL"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "sources.json"),
        ({name: value for name, value in GOOD.items() if name != "ledger"}, "ledger"),
        (GOOD | {"gatewya": "host=typo"}, "gatewya"),
        (GOOD | {"bus": {"kind": "rabbit"}}, "rabbit"),
        (GOOD | {"bus": {"kind": "kafka", "bootstrap": "a", "dsn": "b"}}, "dsn"),
    ],
)
def test_a_file_that_is_no_description_is_refused_by_name(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(InvalidSources, match=says):
        of_file(written(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSources, match="nowhere"):
        of_file(tmp_path / "nowhere.json")
