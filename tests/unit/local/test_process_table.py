"""The environment of each process."""

import sys
from pathlib import Path

import pytest

from holdfast.contracts import topics
from holdfast.local import process_table, settings
from holdfast.local.info import BusInfo
from holdfast.local.layout import DataFolder

PORTS = {name: 20_000 + number for number, name in enumerate(process_table.NAMES)}
OPS_PORTS = {name: 21_000 + number for number, name in enumerate(topics.SERVICES)}
POSTGRES_BUS = BusInfo("postgres", dsn="postgresql://bus")
KAFKA_BUS = BusInfo("kafka", bootstrap="broker:9092")


def rows(bus: BusInfo) -> dict[str, process_table.ProcessRow]:
    plan = process_table.ProcessPlan(
        DataFolder(Path("/data")),
        PORTS,
        OPS_PORTS,
        lambda database, role: f"postgresql://{role}@h/{database}",
        bus,
        "/h",
    )
    return {row.name: row for row in process_table.processes(plan)}


def test_the_provider_starts_first_and_every_process_is_a_serve_command() -> None:
    found = rows(POSTGRES_BUS)
    assert list(found) == [
        "payment-provider",
        "cart-crud",
        "inventory-write",
        "payment-gateway",
        "order-create",
        "checkout-orchestrator",
        "gateway-bff",
    ]
    for name, row in found.items():
        assert row.command == (sys.executable, "-P", "-m", "holdfast.cli.main", "serve", name)


def test_a_service_is_told_all_it_needs() -> None:
    assert rows(POSTGRES_BUS)["inventory-write"].env == {
        "HOLDFAST_DSN": "postgresql://inventory_write@h/inventory_write",
        "HOLDFAST_HTTP_HOST": "127.0.0.1",
        "HOLDFAST_HTTP_PORT": str(PORTS["inventory-write"]),
        "HOLDFAST_OPS_HOST": "127.0.0.1",
        "HOLDFAST_OPS_PORT": str(OPS_PORTS["inventory-write"]),
        "HOLDFAST_JWKS": "/data/keys/jwks.json",
        "HOLDFAST_PARTITIONS": "4",
        "HOLDFAST_BUS": "postgres",
        "HOLDFAST_BUS_DSN": "postgresql://inventory_write@h/bus",
        "HOLDFAST_BUS_WAKEUP_FOLDER": "/h",
    }


def test_on_kafka_nothing_speaks_of_the_other_bus() -> None:
    env = rows(KAFKA_BUS)["order-create"].env
    assert {name: value for name, value in env.items() if "BUS" in name or "KAFKA" in name} == {
        "HOLDFAST_BUS": "kafka",
        "HOLDFAST_KAFKA_BOOTSTRAP": "broker:9092",
    }
    assert env["HOLDFAST_SIGNING_KEYS"] == "/data/keys/messages/order-create.json"
    assert env["HOLDFAST_PARTITIONS"] == "12"


def test_neighbours_find_each_other() -> None:
    found = rows(POSTGRES_BUS)
    gateway, payment = found["gateway-bff"].env, found["payment-gateway"].env
    assert gateway["HOLDFAST_CART_URL"] == f"http://127.0.0.1:{PORTS['cart-crud']}"
    assert gateway["HOLDFAST_ORCHESTRATOR_URL"] == f"http://127.0.0.1:{PORTS['checkout-orchestrator']}"
    assert payment["HOLDFAST_PROVIDER_URL"] == f"http://127.0.0.1:{PORTS['payment-provider']}"
    assert payment["HOLDFAST_PROVIDER_KEY_FILE"] == found["payment-provider"].env["PROVIDER_KEY_FILE"]


def test_the_provider_hears_nothing_of_our_databases() -> None:
    assert rows(POSTGRES_BUS)["payment-provider"].env == {
        "PROVIDER_HTTP_HOST": "127.0.0.1",
        "PROVIDER_HTTP_PORT": str(PORTS["payment-provider"]),
        "PROVIDER_LEDGER": "/data/provider/ledger.sqlite",
        "PROVIDER_KEY_FILE": "/data/keys/provider.key",
    }


def test_the_callers_libpq_variables_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("HOLDFAST_ORDER_TOTAL_MAX_MINOR", "7")
    inherited = settings.inherited()
    assert "PGSSLMODE" not in inherited
    assert inherited["HOLDFAST_ORDER_TOTAL_MAX_MINOR"] == "7"


def test_who_calls_others_is_told_its_key_and_who_is_called_the_public_ones() -> None:
    told = {
        name: {variable: value for variable, value in row.env.items() if "HOLDFAST_SERVICE" in variable}
        for name, row in rows(POSTGRES_BUS).items()
    }
    public = {"HOLDFAST_SERVICE_JWKS": "/data/keys/services.jwks.json"}
    assert {name: env for name, env in told.items() if env} == {
        "cart-crud": public,
        "checkout-orchestrator": public,
        "gateway-bff": {"HOLDFAST_SERVICE_KEY": "/data/keys/gateway-bff.key.json"},
    }
