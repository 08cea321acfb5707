"""How long things are kept: numbers that contradict each other stop the start and name the variable."""

import pytest

from holdfast.messaging.pruner import Retention
from holdfast.runtime.settings import RetentionSettings, ServiceSettings, load
from holdfast.services.gateway_bff.domain import NOT_AFTER_MS

SUMMED = ("HOLDFAST_NOT_AFTER_S", "HOLDFAST_TOPIC_RETENTION_S", "HOLDFAST_DEAD_LETTER_RETENTION_S")


def start(monkeypatch: pytest.MonkeyPatch, **environment: str) -> ServiceSettings:
    needed = {
        "DSN": "postgresql://x",
        "BUS_DSN": "postgresql://y",
        "HTTP_PORT": "8080",
        "JWKS": "keys",
    }
    for name, value in {**needed, **environment}.items():
        monkeypatch.setenv(f"HOLDFAST_{name}", value)
    return load(ServiceSettings)


def test_the_defaults_keep_rows_longer_than_messages() -> None:
    settings = RetentionSettings()
    kept = settings.not_after_s + settings.topic_retention_s + settings.dead_letter_retention_s
    assert settings.row_retention_s > kept
    assert settings.not_after_s * 1000 == NOT_AFTER_MS


@pytest.mark.parametrize("name", [*SUMMED, "HOLDFAST_ROW_RETENTION_S"])
def test_rows_that_would_not_outlive_messages_refuse_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    short = "HOLDFAST_ROW_RETENTION_S"
    wrong = str(28 * 86_400) if name == short else str(30 * 86_400)
    with pytest.raises(SystemExit) as ended:
        start(monkeypatch, **{name.removeprefix("HOLDFAST_"): wrong})
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"configuration error: {short}: ")
    assert all(each in said for each in SUMMED)


def test_one_second_more_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = start(
        monkeypatch,
        NOT_AFTER_S="4",
        TOPIC_RETENTION_S="3",
        DEAD_LETTER_RETENTION_S="2",
        ROW_RETENTION_S="10",
        PRUNE_EVERY_S="1",
    )
    assert settings.retention() == Retention(10_000, 2_000, 1_000)
