"""Settings: what is wrong is said with the variable's name."""

from pathlib import Path

import pytest

from holdfast.payment_provider.settings import SettingsError, load


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Good settings, to spoil."""
    (tmp_path / "key").write_text("sk_test_1\n")
    monkeypatch.setenv("PROVIDER_LEDGER", str(tmp_path / "ledger.sqlite"))
    monkeypatch.setenv("PROVIDER_KEY_FILE", str(tmp_path / "key"))
    return tmp_path


def test_good_settings(environment: Path) -> None:
    settings, secrets = load()
    assert (settings.http_host, settings.http_port, settings.key_ttl_s) == ("127.0.0.1", 8090, 86_400)
    assert settings.ledger == environment / "ledger.sqlite"
    assert secrets.keys == ("sk_test_1",)
    assert secrets.webhook is None


def test_several_keys_are_accepted_while_they_are_exchanged(environment: Path) -> None:
    (environment / "key").write_text("sk_old\nsk_new\n")
    assert load()[1].keys == ("sk_old", "sk_new")


def test_webhooks_come_with_a_secret(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (environment / "secret").write_text("whsec_1")
    monkeypatch.setenv("PROVIDER_WEBHOOK_URL", "http://127.0.0.1:1/hooks")
    monkeypatch.setenv("PROVIDER_WEBHOOK_SECRET_FILE", str(environment / "secret"))
    assert load()[1].webhook == "whsec_1"
    monkeypatch.delenv("PROVIDER_WEBHOOK_SECRET_FILE")
    with pytest.raises(SettingsError, match="PROVIDER_WEBHOOK_SECRET_FILE"):
        load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PROVIDER_HTTP_PORT", "65536"),
        ("PROVIDER_HTTP_PORT", "eighty"),
        ("PROVIDER_KEY_TTL_S", "0"),
        ("PROVIDER_KEY_FILE", "/nonexistent/key"),
        ("PROVIDER_WEBHOOK_URL", "not a url"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_a_bad_value_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load()


@pytest.mark.parametrize("variable", ["PROVIDER_LEDGER", "PROVIDER_KEY_FILE"])
@pytest.mark.usefixtures("environment")
def test_a_missing_variable_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(SettingsError, match=variable):
        load()


def test_every_fault_is_named_at_once(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_HTTP_PORT", "x")
    monkeypatch.delenv("PROVIDER_LEDGER")
    with pytest.raises(SettingsError) as refused:
        load()
    assert sorted(line.split(":")[0] for line in str(refused.value).splitlines()) == [
        "PROVIDER_HTTP_PORT",
        "PROVIDER_LEDGER",
    ]


def test_an_empty_key_file_is_refused(environment: Path) -> None:
    (environment / "key").write_text(" \n")
    with pytest.raises(SettingsError, match="PROVIDER_KEY_FILE"):
        load()
