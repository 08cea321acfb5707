"""Reads and checks the environment of the process once; no other module reads it.

Scripted faults are not settings: see `fault_rules`.
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "PROVIDER_"


class SettingsError(Exception):
    """The environment is not usable; each line names a variable."""


class Settings(BaseSettings):
    """One field, one variable: `PROVIDER_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8090, ge=0, le=65535)
    ledger: Path
    key_file: Path
    key_ttl_s: int = Field(default=24 * 3600, ge=1)
    webhook_url: HttpUrl | None = None
    webhook_secret_file: Path | None = None
    webhook_retry_ms: int = Field(default=1000, ge=1)


class Secrets(NamedTuple):
    keys: tuple[str, ...]
    webhook: str | None


def load() -> tuple[Settings, Secrets]:
    """Read settings and secrets; a key file may hold several keys, one a line, so that keys can change."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # the environment supplies the fields
    except ValidationError as error:
        lines = [f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
        raise SettingsError("\n".join(lines)) from error
    keys = _read_secret("KEY_FILE", settings.key_file)
    if settings.webhook_url is None:
        return settings, Secrets(keys, None)
    if settings.webhook_secret_file is None:
        raise SettingsError(f"{PREFIX}WEBHOOK_SECRET_FILE: required with {PREFIX}WEBHOOK_URL")
    return settings, Secrets(keys, _read_secret("WEBHOOK_SECRET_FILE", settings.webhook_secret_file)[0])


def _read_secret(name: str, path: Path) -> tuple[str, ...]:
    try:
        secrets = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{PREFIX}{name}: cannot be read: {error}") from error
    if not secrets:
        raise SettingsError(f"{PREFIX}{name}: {path} is empty")
    return secrets
