"""What a process's settings make of the bus."""

import json
from pathlib import Path

import pytest

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, ORDER
from holdfast.local.keys import Keys
from holdfast.messaging.breaker import BreakerSettings
from holdfast.runtime.bus import connect
from holdfast.runtime.settings import ServiceSettings


def settings(**more: object) -> ServiceSettings:
    common = {
        "dsn": "dbname=none",
        "bus": "kafka",
        "kafka_bootstrap": "127.0.0.1:1",
        "http_port": 1,
        "jwks": Path(),
        "signing_keys": Path(),
    }
    return ServiceSettings.model_validate(common | more)


def test_a_kafka_that_takes_nothing_opens_the_breaker_within_a_minute() -> None:
    """A publish ends when its time is up: so many of them open the breaker."""
    assert settings().kafka_delivery_timeout_ms * BreakerSettings().failures_max < 60_000


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path)
    made.ensure()
    return made


def test_kafka_is_told_how_long_a_delivery_may_take_and_a_member_be_silent(keys: Keys) -> None:
    made = settings(
        kafka_delivery_timeout_ms=1_234, kafka_session_timeout_ms=2_345, signing_keys=keys.messages(ORDER)
    )
    bus = connect(made, ORDER)
    assert isinstance(bus, KafkaBus)
    assert (bus._settings.delivery_timeout_ms, bus._settings.session_timeout_ms) == (1_234, 2_345)
    bus.close()


def test_keys_that_cannot_be_used_stop_the_start_with_a_line_that_says_why(
    keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(path: Path, service: str = ORCHESTRATOR) -> str:
        with pytest.raises(SystemExit) as ended:
            connect(settings(signing_keys=path), service)
        assert ended.value.code == 2
        return capsys.readouterr().err.removeprefix("configuration error: HOLDFAST_SIGNING_KEYS: ").strip()

    mine = keys.messages(ORCHESTRATOR)
    assert isinstance(connect(settings(signing_keys=mine), ORCHESTRATOR), KafkaBus)
    assert refusal(mine, GATEWAY) == f"its sign_with is a key of {ORCHESTRATOR}, not of {GATEWAY}"
    assert refusal(keys.messages("nobody")).startswith("the file that it names cannot be read: ")
    document = json.loads(mine.read_text())
    less = [key for key in document["keys"] if key["service"] != ORDER]
    mine.write_text(json.dumps(document | {"keys": less}))
    assert refusal(mine) == f"it has no key of {ORDER}, whose messages {ORCHESTRATOR} reads"
    mine.write_text(json.dumps(document | {"sign_with": "another"}))
    assert refusal(mine) == "its sign_with names 'another', which is none of its keys"
    mine.write_text(json.dumps(document | {"keys": document["keys"] * 2}))
    assert refusal(mine) == "two of its keys have one id"
    short = [{**key, "secret": "c2hvcnQ="} for key in document["keys"]]
    mine.write_text(json.dumps(document | {"keys": short}))
    assert refusal(mine).endswith("has fewer than 32 bytes")
    mine.write_text("{")
    assert refusal(mine).startswith("the file that it names is not as it should be: ")
    mine.chmod(0o640)
    assert refusal(mine) == "others than its owner may use the file that it names: chmod 600"
