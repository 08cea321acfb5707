"""Where the books are: one DSN per service, the bus, the provider's ledger; from a data folder or a file.

It holds addresses only; `sessions` opens the sessions.
"""

from pathlib import Path
from typing import Any

import msgspec

from holdfast.contracts.steps import GATEWAY, ORCHESTRATOR, STEPS
from holdfast.local.info import PlatformInfo, find


class SourceUnavailable(Exception):
    """One of the books cannot be read; the text says which, and why."""


class InvalidSources(Exception):
    """The file does not describe sources; the text says what is wrong."""


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """The bus; in a file, `kind` says which one."""


class PostgresSource(_Source, frozen=True, tag="postgres"):
    dsn: str


class KafkaSource(_Source, frozen=True, tag="kafka"):
    """Kafka; `options` are librdkafka's own options (TLS, SASL)."""

    bootstrap: str
    options: dict[str, str | int | float | bool] = {}


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that an audit reads; `scratch` is the DSN for its temporary tables ("": the orchestrator's)."""

    gateway: str
    orchestrator: str
    inventory: str
    payment: str
    order: str
    cart: str
    bus: PostgresSource | KafkaSource
    ledger: Path
    scratch: str = ""

    def dsns(self) -> dict[str, str]:
        """Return each service's DSN by the service's name."""
        return {service: getattr(self, field) for service, field in FIELDS.items()}


FIELDS = {GATEWAY: "gateway", ORCHESTRATOR: "orchestrator"} | {row.service: row.name for row in STEPS}
"""The field of each service's DSN."""


def of_platform(data_dir: Path) -> Sources:
    """Return the sources of the platform that runs on this data folder; raises local.layout.NotRunning."""
    info = find(data_dir)
    bus: PostgresSource | KafkaSource
    if info.bus.kind == "kafka":
        bus = KafkaSource(info.bus.bootstrap or "")
    else:
        bus = PostgresSource(info.bus.dsn or "")
    dsns: dict[str, Any] = {field: _dsn(info, service) for service, field in FIELDS.items()}
    return Sources(bus=bus, ledger=info.folder.ledger, **dsns)


def _dsn(info: PlatformInfo, service: str) -> str:
    dsn = info.services[service].dsn
    if dsn is None:
        raise SourceUnavailable(f"platform.json names no database for {service}")
    return dsn


def of_file(path: Path) -> Sources:
    """Read sources from a JSON file with the fields of `Sources`; raises InvalidSources."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Sources, dec_hook=_path)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidSources(f"{path}: {error}") from error


def _path(kind: type, text: object) -> Path:
    """Decode the one type that JSON does not know."""
    if kind is not Path or not isinstance(text, str):
        raise TypeError(f"{text!r} is no path")
    return Path(text)
