"""Kafka's access rules from the access table: printed for people, or applied to a cluster.

The cluster needs an authorizer and `allow.everyone.if.no.acl.found=false`, else the rules forbid nothing.
"""

from concurrent.futures import Future
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from holdfast.bus.access import AccessTable
from holdfast.bus.kafka.client_log import client_log
from holdfast.bus.kafka.errors import unavailable
from holdfast.bus.kafka.settings import KafkaSettings

CLUSTER = "kafka-cluster"
_OPTION = {"TOPIC": "--topic", "GROUP": "--group"}


class AclRule(NamedTuple):
    """One operation that one principal may do; `kind` and `operation` are Kafka's words."""

    principal: str
    kind: str
    name: str
    operation: str

    def command(self) -> str:
        """Return the arguments of `kafka-acls.sh` that add this rule."""
        where = "--cluster" if self.kind == "CLUSTER" else f"{_OPTION[self.kind]} {self.name}"
        operation = "".join(word.capitalize() for word in self.operation.split("_"))
        return f"--add --allow-principal User:{self.principal} --operation {operation} {where}"


def rules(access: AccessTable) -> list[AclRule]:
    """Return every rule, sorted. All principals may describe every topic: they check topics at start."""
    topics = {each.topic for each in (*access.writers, *access.readers)}
    found = {
        AclRule(principal, "TOPIC", topic, operation)
        for principal in access.principals
        for topic in topics
        for operation in ("DESCRIBE", "DESCRIBE_CONFIGS")
    }
    for writer in access.writers:
        found.add(AclRule(writer.principal, "TOPIC", writer.topic, "WRITE"))
        found.add(AclRule(writer.principal, "CLUSTER", CLUSTER, "IDEMPOTENT_WRITE"))
    for reader in access.readers:
        found.add(AclRule(reader.principal, "TOPIC", reader.topic, "READ"))
        found.add(AclRule(reader.principal, "GROUP", reader.service, "READ"))
    return sorted(found)


def apply(settings: KafkaSettings, access: AccessTable) -> tuple[int, int]:
    """Give these principals exactly the table's rules; return how many rules were added and deleted.

    Raises BusUnavailable. Rules of other principals are not changed.
    """
    client = AdminClient(settings.client(), logger=client_log("admin"))
    timeout_s = settings.lookup_timeout_s
    wanted = {_binding(rule) for rule in rules(access)}
    try:
        there = {
            binding
            for principal in access.principals
            for binding in client.describe_acls(_all_of(principal), request_timeout=timeout_s).result()
        }
        _await(client.create_acls(list(wanted - there), request_timeout=timeout_s) if wanted - there else {})
        gone = [_exactly(binding) for binding in there - wanted]
        _await(client.delete_acls(gone, request_timeout=timeout_s) if gone else {})
    except KafkaException as error:
        raise unavailable(error) from error
    return len(wanted - there), len(gone)


def _await(futures: dict[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result()


def _binding(rule: AclRule) -> AclBinding:
    return AclBinding(
        ResourceType["BROKER" if rule.kind == "CLUSTER" else rule.kind],
        rule.name,
        ResourcePatternType.LITERAL,
        f"User:{rule.principal}",
        "*",
        AclOperation[rule.operation],
        AclPermissionType.ALLOW,
    )


def _all_of(principal: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        cast("str", None),  # any; its stubs know no None
        ResourcePatternType.ANY,
        f"User:{principal}",
        cast("str", None),
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _exactly(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )
