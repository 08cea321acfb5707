"""A service's settings: a wrong value stops the start, and the error names its variable and no secret."""

from collections.abc import Iterator

import pytest
from pydantic_settings import BaseSettings
from tests.callers import keys

from holdfast.contracts.topics import GATEWAY
from holdfast.runtime.settings import CalledServiceSettings, ServiceSettings, load
from holdfast.services.checkout_orchestrator.settings import DeadlineSettings
from holdfast.services.gateway_bff.settings import GatewaySettings

GOOD = {
    "DSN": "postgresql://svc:s3cret@h1:5432,h2:5432/db",
    "BUS_DSN": "host=h1 dbname=bus",
    "HTTP_PORT": "8080",
    "JWKS": "keys",
    "SIGNING_KEYS": "message-keys",
    "CART_URL": "http://127.0.0.1:8081",
    "ORCHESTRATOR_URL": "http://127.0.0.1:8082/",
    "SERVICE_JWKS": "keys",
}
CASES: list[tuple[type[BaseSettings], str, str]] = [
    (ServiceSettings, "DSN", "postgresql://svc:s3cret%zz@h/db"),
    (ServiceSettings, "DSN", "postgresql://svc:pa@s3cret@h/db"),
    (ServiceSettings, "DSN", "password=a s3cret"),
    (ServiceSettings, "BUS_DSN", "no dsn s3cret"),
    (ServiceSettings, "BUS_DSN", ""),
    (ServiceSettings, "KAFKA_BOOTSTRAP", ""),
    (ServiceSettings, "HTTP_PORT", "99999"),
    (ServiceSettings, "OPS_PORT", "8080"),
    (ServiceSettings, "HTTP_PROXIES", "10.0.0.0/33"),
    (ServiceSettings, "HTTP_HEAD_S", "0"),
    (GatewaySettings, "CART_URL", "http://"),
    (GatewaySettings, "ORCHESTRATOR_URL", "somewhere"),
    (GatewaySettings, "SERVICE_KEY", "/no/such/key"),
    (GatewaySettings, "SERVICE_KEY", __file__),
    (GatewaySettings, "ORCHESTRATOR_URL", "http://a:1,"),
    (GatewaySettings, "CART_URL", "http://a:1, http://b:1"),
    (GatewaySettings, "CART_URL", "http://a:1,b:2"),
    (DeadlineSettings, "DEADLINE_PATIENCE_MS", "4999"),
    (DeadlineSettings, "DEADLINE_PAYMENT_PATIENCE_MS", "10"),
    (DeadlineSettings, "DEADLINE_HORIZON_MS", "20000"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with keys() as made:
        for name, value in {**GOOD, "SERVICE_KEY": str(made.of_service(GATEWAY))}.items():
            monkeypatch.setenv(f"HOLDFAST_{name}", value)
        yield


@pytest.mark.parametrize(
    "settings", [ServiceSettings, CalledServiceSettings, GatewaySettings, DeadlineSettings]
)
def test_a_right_one_starts(settings: type[BaseSettings]) -> None:
    assert load(settings)


def test_kafka_needs_keys_of_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOLDFAST_BUS", "kafka")
    monkeypatch.setenv("HOLDFAST_KAFKA_BOOTSTRAP", "broker:9092")
    assert load(ServiceSettings)
    monkeypatch.delenv("HOLDFAST_SIGNING_KEYS")
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    said = "configuration error: HOLDFAST_SIGNING_KEYS: HOLDFAST_BUS=kafka needs it\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("settings", "name", "value"), CASES)
def test_a_wrong_one_stops_the_start_and_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[BaseSettings],
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(f"HOLDFAST_{name}", value)
    if name == "KAFKA_BOOTSTRAP":
        monkeypatch.setenv("HOLDFAST_BUS", "kafka")
    with pytest.raises(SystemExit) as ended:
        load(settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"configuration error: HOLDFAST_{name}: ")
    assert said.count("\n") == 1
    assert "s3cret" not in said
