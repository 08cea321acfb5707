"""The process table: which processes a platform has, and the environment of each.

platform.py starts them.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from holdfast.contracts import topics
from holdfast.contracts.internal_calls import CALLERS, MAY_CALL
from holdfast.local.info import BusInfo
from holdfast.local.keys import Keys
from holdfast.local.layout import DataFolder
from holdfast.local.processes import HOST
from holdfast.runtime.principals import role_of

BUS_DATABASE = "bus"
PROVIDER = "payment-provider"
NAMES = (PROVIDER, *topics.SERVICES)


class ProcessRow(NamedTuple):
    """One process: its command (absolute path first), and what is added to the inherited environment."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


class ProcessPlan(NamedTuple):
    """The addresses, folders and choices that the table is made from."""

    folder: DataFolder
    ports: Mapping[str, int]
    ops_ports: Mapping[str, int]  # of the operations endpoints; of services alone
    dsn: Callable[[str, str], str]  # of a database, as a role
    bus: BusInfo
    wakeup_folder: str
    webhooks: bool = False

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    def ops_url(self, name: str) -> str:
        """Return the address for operators and their tools; the provider has one port for all clients."""
        return f"http://{HOST}:{self.ops_ports.get(name, self.ports[name])}"


def database(service: str) -> str:
    """Return the name of a service's database."""
    return role_of(service)


def partitions(bus: BusInfo) -> int:
    return topics.PARTITIONS_EMBEDDED if bus.kind == "postgres" else topics.PARTITIONS


def processes(plan: ProcessPlan) -> list[ProcessRow]:
    """Return every process of the platform, in starting order."""
    return [_row(PROVIDER, _provider(plan)), *(_row(name, _service(name, plan)) for name in topics.SERVICES)]


def _row(name: str, env: Mapping[str, str]) -> ProcessRow:
    return ProcessRow(name, (sys.executable, "-P", "-m", "holdfast.cli.main", "serve", name), env)


def _provider(plan: ProcessPlan) -> dict[str, str]:
    return {
        "PROVIDER_HTTP_HOST": HOST,
        "PROVIDER_HTTP_PORT": str(plan.ports[PROVIDER]),
        "PROVIDER_LEDGER": str(plan.folder.ledger),
        "PROVIDER_KEY_FILE": str(Keys(plan.folder.keys).provider),
        **(_webhooks(plan) if plan.webhooks else {}),
    }


def _webhooks(plan: ProcessPlan) -> dict[str, str]:
    return {
        "PROVIDER_WEBHOOK_URL": f"{plan.url(topics.PAYMENT)}/webhooks/provider",
        "PROVIDER_WEBHOOK_SECRET_FILE": str(Keys(plan.folder.keys).webhook),
    }


def _service(name: str, plan: ProcessPlan) -> dict[str, str]:
    return {
        "HOLDFAST_DSN": plan.dsn(database(name), role_of(name)),
        "HOLDFAST_HTTP_HOST": HOST,
        "HOLDFAST_HTTP_PORT": str(plan.ports[name]),
        "HOLDFAST_OPS_HOST": HOST,
        "HOLDFAST_OPS_PORT": str(plan.ops_ports[name]),
        "HOLDFAST_JWKS": str(Keys(plan.folder.keys).public),
        "HOLDFAST_PARTITIONS": str(partitions(plan.bus)),
        **_bus(name, plan),
        **_service_keys(name, plan),
        **_upstreams(name, plan),
    }


def _service_keys(name: str, plan: ProcessPlan) -> dict[str, str]:
    """Return the files of the key that signs a service's calls, and of the keys of those that call it."""
    keys, env = Keys(plan.folder.keys), {}
    if name in CALLERS:
        env["HOLDFAST_SERVICE_KEY"] = str(keys.of_service(name))
    if any(callee == name for callee, _ in MAY_CALL):
        env["HOLDFAST_SERVICE_JWKS"] = str(keys.services_public)
    return env


def _bus(name: str, plan: ProcessPlan) -> dict[str, str]:
    if plan.bus.kind == "kafka":
        return {
            "HOLDFAST_BUS": "kafka",
            "HOLDFAST_KAFKA_BOOTSTRAP": plan.bus.bootstrap or "",
            "HOLDFAST_SIGNING_KEYS": str(Keys(plan.folder.keys).messages(name)),
        }
    return {
        "HOLDFAST_BUS": "postgres",
        "HOLDFAST_BUS_DSN": plan.dsn(BUS_DATABASE, role_of(name)),
        "HOLDFAST_BUS_WAKEUP_FOLDER": plan.wakeup_folder,
    }


def _upstreams(name: str, plan: ProcessPlan) -> dict[str, str]:
    if name == topics.GATEWAY:
        return {
            "HOLDFAST_CART_URL": plan.url(topics.CART),
            "HOLDFAST_ORCHESTRATOR_URL": plan.url(topics.ORCHESTRATOR),
        }
    if name == topics.PAYMENT:
        return {
            "HOLDFAST_PROVIDER_URL": plan.url(PROVIDER),
            "HOLDFAST_PROVIDER_KEY_FILE": str(Keys(plan.folder.keys).provider),
            "HOLDFAST_PROVIDER_WEBHOOK_SECRET_FILE": str(Keys(plan.folder.keys).webhook),
        }
    return {}
