"""Settings of a process's two HTTP listeners: their addresses and every limit."""

from dataclasses import replace
from ipaddress import ip_network

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.http_server.limits import Limits, Network

OPS_CONNECTIONS_MAX = 256


class HttpSettings(BaseSettings):
    """`HOLDFAST_HTTP_...` and `HOLDFAST_OPS_...`; docs/reference/limits.md explains each."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="ignore")

    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=1, le=65535)
    ops_host: str = "127.0.0.1"
    ops_port: int = Field(default=9090, ge=1, le=65535, validate_default=True)
    lame_duck_s: float = Field(default=0.0, ge=0, le=300)

    http_connections_max: int = Field(default=12_000, ge=1)
    http_connections_per_client_max: int = Field(default=0, ge=0)
    http_proxies: str = "127.0.0.0/8,::1"
    http_target_bytes_max: int = Field(default=8 * 1024, ge=256)
    http_head_bytes_max: int = Field(default=32 * 1024, ge=1024)
    http_header_bytes_max: int = Field(default=16 * 1024, ge=1024)
    http_headers_max: int = Field(default=64, ge=8)
    http_body_bytes_max: int = Field(default=1024 * 1024, ge=1024)
    http_framing_bytes_max: int = Field(default=16 * 1024, ge=256)
    http_pipelined_max: int = Field(default=16, ge=1)
    http_first_byte_s: float = Field(default=10.0, gt=0)
    http_head_s: float = Field(default=10.0, gt=0)
    http_body_s: float = Field(default=15.0, gt=0)
    http_keep_alive_s: float = Field(default=75.0, gt=0)
    http_answer_s: float = Field(default=30.0, gt=0)
    http_linger_s: float = Field(default=2.0, gt=0)
    http_linger_bytes_max: int = Field(default=256 * 1024, ge=0)

    @field_validator("ops_port")
    @classmethod
    def _is_a_port_of_its_own(cls, ops_port: int, info: ValidationInfo) -> int:
        if ops_port == info.data.get("http_port"):
            raise ValueError("it is HOLDFAST_HTTP_PORT, which is for those whom you do not know")
        return ops_port

    @field_validator("http_proxies")
    @classmethod
    def _are_networks(cls, http_proxies: str) -> str:
        _networks(http_proxies)
        return http_proxies

    def limits(self) -> Limits:
        """Return the limits of the port that clients and other services use."""
        return Limits(
            connections_max=self.http_connections_max,
            connections_per_client_max=self.http_connections_per_client_max,
            proxies=_networks(self.http_proxies),
            target_bytes_max=self.http_target_bytes_max,
            head_bytes_max=self.http_head_bytes_max,
            header_bytes_max=self.http_header_bytes_max,
            headers_max=self.http_headers_max,
            body_bytes_max=self.http_body_bytes_max,
            framing_bytes_max=self.http_framing_bytes_max,
            pipelined_max=self.http_pipelined_max,
            first_byte_s=self.http_first_byte_s,
            head_s=self.http_head_s,
            body_s=self.http_body_s,
            keep_alive_s=self.http_keep_alive_s,
            answer_s=self.http_answer_s,
            linger_s=self.http_linger_s,
            linger_bytes_max=self.http_linger_bytes_max,
        )

    def ops_limits(self) -> Limits:
        """Return the limits of the operations port: the same per request, but fewer connections."""
        return replace(self.limits(), connections_max=OPS_CONNECTIONS_MAX, connections_per_client_max=0)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
