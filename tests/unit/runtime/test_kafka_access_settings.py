"""As whom a service logs in to Kafka: whole or not at all, and never with a password in a variable."""

from pathlib import Path

import pytest

from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.runtime.settings import KafkaAccessSettings, load

PREFIX = "HOLDFAST_KAFKA_"


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A login that is whole, in files of this folder."""
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "ca").write_text("a certificate")
    (tmp_path / "empty").write_text(" \n")
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "USERNAME": "payment-gateway",
        "PASSWORD_FILE": str(tmp_path / "password"),
        "CA_FILE": str(tmp_path / "ca"),
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    return tmp_path


def test_a_whole_login_reaches_every_client(told: Path) -> None:
    options = load(KafkaAccessSettings).kafka_options()
    assert options == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "payment-gateway",
        "sasl.password": "s3cret",
        "ssl.ca.location": str(told / "ca"),
    }
    settings = KafkaSettings("broker:9093", options=options)
    for client in (settings.client(), settings.producer(), settings.consumer("payment-gateway")):
        assert options.items() <= client.items()
    assert "s3cret" not in repr(settings) + repr(load(KafkaAccessSettings))


def test_without_a_word_there_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECURITY_PROTOCOL", "USERNAME", "PASSWORD_FILE", "CA_FILE"):
        monkeypatch.delenv(f"{PREFIX}{name}")
    assert load(KafkaAccessSettings).kafka_options() == {}


@pytest.mark.parametrize(
    ("changed", "blamed"),
    [
        ({"USERNAME": ""}, {"USERNAME"}),
        ({"PASSWORD_FILE": "none"}, {"PASSWORD_FILE"}),
        ({"PASSWORD_FILE": "empty"}, {"PASSWORD_FILE"}),
        ({"PASSWORD_FILE": None}, {"PASSWORD_FILE"}),
        ({"CA_FILE": "none"}, {"CA_FILE"}),
        ({"SECURITY_PROTOCOL": "PLAINTEXT"}, {"USERNAME", "PASSWORD_FILE", "CA_FILE"}),
        ({"SECURITY_PROTOCOL": "SSL"}, {"SECURITY_PROTOCOL"}),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, {"CA_FILE"}),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN"}, {"SASL_MECHANISM", "CA_FILE"}),
        ({"SASL_MECHANISM": "GSSAPI"}, {"SASL_MECHANISM"}),
    ],
)
def test_half_a_login_stops_the_start_and_names_its_variable(
    told: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str | None],
    blamed: set[str],
) -> None:
    for name, value in changed.items():
        if value is None:
            monkeypatch.delenv(f"{PREFIX}{name}")
        else:
            monkeypatch.setenv(f"{PREFIX}{name}", str(told / value) if name.endswith("FILE") else value)
    with pytest.raises(SystemExit) as ended:
        load(KafkaAccessSettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert {line.split(": ")[1].removeprefix(PREFIX) for line in said.splitlines()} == blamed
    assert "s3cret" not in said
