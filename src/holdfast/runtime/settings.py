"""Settings that every service has, from `HOLDFAST_...`; a wrong one stops the start, and the error names it.

Only settings classes read the environment.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.contracts.card_numbers import holds_card_number
from holdfast.messaging import crashpoints
from holdfast.messaging.database_session import check_dsn
from holdfast.messaging.pruner import Retention
from holdfast.runtime.http_settings import HttpSettings

PREFIX = "HOLDFAST_"
DAY_S = 86_400
URL_PATTERN = r"^https?://[^/?#\s]+/?$"
"""The address of a service that we call, without a path."""
URLS_PATTERN = r"^https?://[^/?#\s,]+/?(,https?://[^/?#\s,]+/?)*$"
"""The addresses of a service's instances, separated by commas."""


class RetentionSettings(BaseSettings):
    """How long data are kept, in seconds: all services of a platform must have the same numbers.

    A row must outlive every message that could need it: an accepted checkout may begin until `not_after_s`
    later, the bus keeps its messages, and dead letters may be redriven.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    not_after_s: int = Field(default=7 * DAY_S, ge=1)
    topic_retention_s: int = Field(default=7 * DAY_S, ge=1)
    consumed_retention_s: int = Field(default=600, ge=0)
    dead_letter_retention_s: int = Field(default=14 * DAY_S, ge=1)
    row_retention_s: int = Field(default=30 * DAY_S, ge=1, validate_default=True)
    prune_every_s: int = Field(default=600, ge=1)

    @field_validator("row_retention_s")
    @classmethod
    def _rows_outlive_messages(cls, row_retention_s: int, info: ValidationInfo) -> int:
        names = ("not_after_s", "topic_retention_s", "dead_letter_retention_s")
        messages_s = sum(info.data.get(name, 0) for name in names)
        if row_retention_s <= messages_s:
            sum_of = " + ".join(f"{PREFIX}{name}".upper() for name in names)
            raise ValueError(f"{row_retention_s} is not above {sum_of} = {messages_s}")
        return row_retention_s

    def retention(self) -> Retention:
        """Return these numbers in the pruner's type, in milliseconds."""
        return Retention(
            self.row_retention_s * 1000, self.dead_letter_retention_s * 1000, self.prune_every_s * 1000
        )


class KafkaAccessSettings(BaseSettings):
    """How a service logs in to Kafka.

    TLS without a login is not offered: it would hide the messages but prove no client's name.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    kafka_security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        default="SCRAM-SHA-512", validate_default=True
    )
    kafka_username: str = Field(default="", validate_default=True)
    kafka_password_file: Path | None = Field(default=None, validate_default=True)
    kafka_ca_file: Path | None = None

    @field_validator("kafka_sasl_mechanism")
    @classmethod
    def _password_is_not_sent_in_the_open(cls, value: str, info: ValidationInfo) -> str:
        if value == "PLAIN" and info.data.get("kafka_security_protocol") == "SASL_PLAINTEXT":
            raise ValueError(f"PLAIN shows the password: it needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL")
        return value

    @field_validator("kafka_username", "kafka_password_file")
    @classmethod
    def _login_is_whole(cls, value: str | Path | None, info: ValidationInfo) -> str | Path | None:
        protocol = info.data.get("kafka_security_protocol")
        if protocol == "PLAINTEXT" and value:
            raise ValueError(f"{PREFIX}KAFKA_SECURITY_PROTOCOL=PLAINTEXT has no login")
        if protocol in {"SASL_PLAINTEXT", "SASL_SSL"} and not value:
            raise ValueError(f"{PREFIX}KAFKA_SECURITY_PROTOCOL={protocol} needs it")
        return check_secret_file(value) if isinstance(value, Path) else value

    @field_validator("kafka_ca_file")
    @classmethod
    def _authority_is_used(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and info.data.get("kafka_security_protocol", "SASL_SSL") != "SASL_SSL":
            raise ValueError(f"only {PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL uses it")
        return check_secret_file(value)

    def kafka_options(self) -> dict[str, str]:
        """Return librdkafka's options for this login; each call reads the password file."""
        if self.kafka_password_file is None:
            return {}
        options = {
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_username,
            "sasl.password": self.kafka_password_file.read_text("utf-8").strip(),
        }
        return options | ({"ssl.ca.location": str(self.kafka_ca_file)} if self.kafka_ca_file else {})


class ServiceSettings(RetentionSettings, KafkaAccessSettings, HttpSettings):
    """The settings of every service."""

    dsn: str
    bus: Literal["postgres", "kafka"] = "postgres"
    bus_dsn: str = Field(default="", validate_default=True)
    bus_wakeup_folder: Path | None = None
    bus_lease_s: float = Field(default=10.0, gt=0)
    kafka_bootstrap: str = Field(default="", validate_default=True)
    signing_keys: Path | None = Field(default=None, validate_default=True)
    kafka_replicas: int | None = Field(default=None, ge=1)
    kafka_delivery_timeout_ms: int = Field(default=10_000, ge=1_000)
    kafka_session_timeout_ms: int = Field(default=10_000, ge=500)
    partitions: int = Field(default=12, ge=1, le=1000)
    jwks: Path
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    pool_size: int = Field(default=6, ge=2, le=100)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_saga_share: float = Field(default=1.0, ge=0, le=1)
    crash_at: str = ""

    @field_validator("instance")
    @classmethod
    def _may_be_kept(cls, value: str) -> str:
        if holds_card_number(value):
            raise ValueError("it holds what looks like a card number, and it is kept with leases and logs")
        return value

    @field_validator("dsn", "bus_dsn")
    @classmethod
    def _is_a_dsn(cls, value: str) -> str:
        check_dsn(value)
        return value

    @field_validator("bus_dsn", "kafka_bootstrap", "signing_keys")
    @classmethod
    def _bus_is_named(cls, value: str | Path | None, info: ValidationInfo) -> str | Path | None:
        bus = "postgres" if info.field_name == "bus_dsn" else "kafka"
        if info.data.get("bus") == bus and not value:
            raise ValueError(f"{PREFIX}BUS={bus} needs it")
        return value

    @field_validator("crash_at")
    @classmethod
    def _arm_crash(cls, value: str) -> str:
        name, _, visit = value.partition(":")
        if not (visit or "1").isdigit():
            raise ValueError("it is NAME or NAME:n, n the visit to crash at")
        if name:
            crashpoints.arm(name, int(visit or 1))
        return value


class CalledServiceSettings(ServiceSettings):
    """The settings of a service whose internal endpoints other services call."""

    service_jwks: Path


def check_secret_file(path: Path | None) -> Path | None:
    """Return the path unchanged. Raises ValueError if its file cannot be read or is empty."""
    if path is not None:
        try:
            if not path.read_text("utf-8").strip():
                raise ValueError("the file that it names is empty")
        except OSError as error:
            raise ValueError(f"the file that it names cannot be read: {error.strerror}") from None
    return path


S = TypeVar("S", bound=BaseSettings)


def load(settings_type: type[S]) -> S:
    """Read settings from the environment; on an error print one line per variable and exit with 2."""
    try:
        return settings_type()
    except ValidationError as error:
        prefix = str(settings_type.model_config.get("env_prefix", ""))
        for problem in error.errors(include_input=False, include_url=False):
            name = f"{prefix}{'_'.join(str(part) for part in problem['loc'])}".upper().rstrip("_")
            said = problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"configuration error: {name}: {said}\n")
        raise SystemExit(2) from None
