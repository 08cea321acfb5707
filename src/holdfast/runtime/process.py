"""A service's process: HTTP in the main thread; schema, topics and loops once database and bus answer.

It starts even if both are down, and waits for them. It stops in reverse order and loses nothing accepted.
"""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from holdfast import __version__
from holdfast.bus.port import Bus, BusUnavailable, PartitionsDiffer
from holdfast.contracts.topics import all_topics
from holdfast.http_server.config import GuardedConfig
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.breaker import Circuit
from holdfast.messaging.components import Components
from holdfast.messaging.dead_letters import DeadLetters
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.pruner import Pruner
from holdfast.messaging.redriver import NAME as REDRIVER
from holdfast.messaging.store import StoreUnavailable
from holdfast.messaging.topic_watch import TopicWatch
from holdfast.messaging.write_probe import WriteProbe
from holdfast.runtime import dead_letters_api, problems
from holdfast.runtime.auth import Authenticator
from holdfast.runtime.health_api import Health, router
from holdfast.runtime.http_metrics import HttpMetrics, request_seconds
from holdfast.runtime.kernel_metrics import (
    breaker_readings,
    http_readings,
    kernel_readings,
    pruner_readings,
    topic_readings,
)
from holdfast.runtime.loops import Loop
from holdfast.runtime.migrations import PartitionsChanged, agree_partitions, migrate, require_durable
from holdfast.runtime.open_files import raise_limit
from holdfast.runtime.readiness import WAITING, readiness_failures, waiting_reason
from holdfast.runtime.request_limit import RequestLimit
from holdfast.runtime.settings import ServiceSettings
from holdfast.runtime.shutdown import DrainingServer, OpsServer, Shutdown
from holdfast.runtime.telemetry import MetricsSource, configure_logs, new_registry

POLL_S = 0.5
RETRY_POLL_S = 0.25
ANSWER_S = 5
DRAIN_S = 12.0
FLUSH_S = 5.0

log = structlog.get_logger(__name__)


@dataclass
class ExtraLoop:
    """A loop of one service, such as the charge loop; `run_once` returns the seconds to rest."""

    name: str
    run_once: Callable[[], float]
    woken_by_batches: bool = False
    drain: Callable[[], None] = lambda: None


@dataclass
class Service:
    """Everything that `run` needs to make a process of a service.

    `app` serves the clients; `ops_app` serves the operators, on a separate port.
    `leaving` is called on the event loop when the process stops listening; it must release held responses.
    """

    name: str
    settings: ServiceSettings
    bus: Bus
    parts: Components[Any]
    packages: Sequence[str]
    app: FastAPI = field(default_factory=problems.application)
    ops_app: FastAPI = field(default_factory=problems.application)
    extra_loops: Sequence[ExtraLoop] = ()
    registry: CollectorRegistry = field(default_factory=new_registry)
    breakers: Sequence[Circuit] = ()
    leaving: Sequence[Callable[[], None]] = ()
    pruner: Pruner[Any] | None = None
    closers: Sequence[Callable[[], None]] = ()


def run(service: Service) -> int:
    """Run until a signal comes or a loop dies; return the exit status."""
    settings = service.settings
    configure_logs(service.name, settings.instance, __version__, settings.log_level, settings.log_saga_share)
    # A batch makes thousands of objects that live for one transaction: with the default thresholds the
    # garbage collector would visit them again and again and free nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return _Process(service).run()


class _Process:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._parts = service.parts
        self._stopping = Shutdown()
        self._started = threading.Event()
        self._failed = False
        self._waiting_for = WAITING
        self._write_probe = WriteProbe()
        self._topic_watch = TopicWatch(service.bus, service.settings.partitions)
        self._parts.manager.periodic_tasks += [
            self._write_probe.periodic_task(),
            self._topic_watch.periodic_task(),
        ]
        self._loops = self._make_loops()
        self._server = self._make_server()

    def run(self) -> int:
        self._stopping.on_signal(self._end)
        starter = threading.Thread(target=self._start, name="starter", daemon=True)
        starter.start()
        try:
            self._server.run()
        finally:
            self._stopping.begin()
            # On a separate thread, so that a second signal is handled whatever the stop waits for.
            stopper = threading.Thread(target=self._stop, args=[starter], name="stopper", daemon=True)
            stopper.start()
            stopper.join()
        return 1 if self._failed else 0

    # -- start and stop

    def _start(self) -> None:
        """Create schema and topics, however long that takes, then start the loops."""
        try:
            self._await_dependencies()
        except Exception:
            log.exception("start_failed")
            self._die()
            return
        if not self._stopping.begun.is_set():
            for loop in self._loops:
                loop.start()
            self._started.set()
            settings = self._service.settings
            log.info("service_started", port=settings.http_port, ops_port=settings.ops_port)

    def _await_dependencies(self) -> None:
        settings, attempt = self._service.settings, 0
        while not self._stopping.begun.is_set():
            try:
                require_durable(settings.dsn)
                migrate(settings.dsn, self._service.packages, self._stopping.begun.wait)
                agree_partitions(settings.dsn, settings.partitions)
                self._create_topics(settings.partitions)
            except (StoreUnavailable, BusUnavailable, PartitionsChanged, PartitionsDiffer) as error:
                attempt += 1
                self._waiting_for = waiting_reason(error, settings)
                if self._waiting_for == WAITING:
                    log.warning("dependency_not_there", error=str(error), attempt=attempt)
                else:
                    log.error("start_waits", reason=self._waiting_for, error=str(error), attempt=attempt)  # noqa: TRY400
                self._stopping.begun.wait(backoff_ms(attempt, 100, 3_000, settings.instance) / 1000)
            else:
                return

    def _create_topics(self, partitions: int) -> None:
        """Topics that have grown are used like before; `TopicWatch` says so. Raises PartitionsDiffer."""
        try:
            self._service.bus.create_topics(all_topics(), partitions)
        except PartitionsDiffer as error:
            if min(error.counts.values()) < partitions:
                raise

    def _stop(self, starter: threading.Thread) -> None:
        """Finish the current batch, publish its outbox rows, leave the consumer group, close everything."""
        starter.join(self._stopping.left_s(FLUSH_S))
        writers, relay = self._loops[:-1], self._loops[-1]
        if self._started.is_set():
            for loop in writers:
                loop.stop()
            self._parts.manager.wake()
            for loop in writers:
                if not loop.join(self._stopping.left_s(DRAIN_S)):
                    log.warning("loop_still_busy", loop=loop.name)
            self._flush(self._stopping.left_s(FLUSH_S))
            relay.stop()
            self._parts.relay.stop()
            relay.join(self._stopping.left_s(FLUSH_S))
            self._parts.manager.close()
        self._parts.relay.close()
        for close in self._service.closers:
            close()
        self._service.bus.close()
        log.info("service_stopped")

    def _flush(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not self._parts.relay.is_idle() and time.monotonic() < deadline and not self._loops[-1].dead:
            time.sleep(0.01)  # rows that are not published now stay safe in the outbox

    def _end(self) -> None:
        self._server.should_exit = True

    def _die(self) -> None:
        self._failed = True
        self._server.lame_duck_s = 0.0  # it could not serve the requests that still come
        self._end()

    # -- loops

    def _make_loops(self) -> list[Loop]:
        components = self._parts
        extra = [
            Loop(extra.name, extra.run_once, self._die, extra.drain) for extra in self._service.extra_loops
        ]
        for spec, loop in zip(self._service.extra_loops, extra, strict=True):
            if spec.woken_by_batches:
                components.manager.after_batch.append(loop.wake)
        if self._service.pruner is not None:
            extra.append(Loop("pruner", self._service.pruner.run_once, self._die))
        components.relay.retry_with(ProducerManager(self._service.bus))
        extra.append(Loop("relay_retry", self._run_relay_retry_once, self._die))
        writer = Loop("writer", self._run_writer_once, self._die)
        return [writer, *extra, Loop("relay", self._run_relay_once, self._die)]

    def _run_writer_once(self) -> float:
        self._parts.manager.run_once(POLL_S)
        return self._parts.manager.retry_after_ms() / 1000

    def _run_relay_once(self) -> float:
        self._parts.relay.run_once(POLL_S)
        return self._parts.relay.retry_after_ms() / 1000

    def _run_relay_retry_once(self) -> float:
        return 0.0 if self._parts.relay.retry() else RETRY_POLL_S

    # -- the HTTP listeners, health and metrics

    def _make_server(self) -> DrainingServer:
        service, settings = self._service, self._service.settings
        service.registry.register(MetricsSource(lambda: kernel_readings(self._parts)))
        service.registry.register(MetricsSource(lambda: topic_readings(self._topic_watch)))
        service.registry.register(MetricsSource(lambda: breaker_readings(service.breakers)))
        pruner = service.pruner
        if pruner is not None:
            service.registry.register(MetricsSource(lambda: pruner_readings(pruner)))
        self._add_ops_endpoints()
        seconds = request_seconds(service.registry)
        service.app.add_middleware(RequestLimit)
        for app in (service.app, service.ops_app):
            app.add_middleware(HttpMetrics, seconds=seconds)
        limits = settings.limits()
        limits = replace(limits, connections_max=min(limits.connections_max, raise_limit()))
        config = GuardedConfig(
            service.app,
            limits,
            host=settings.http_host,
            port=settings.http_port,
            timeout_graceful_shutdown=ANSWER_S,
        )
        ops_config = GuardedConfig(
            service.ops_app,
            settings.ops_limits(),
            host=settings.ops_host,
            port=settings.ops_port,
            timeout_graceful_shutdown=ANSWER_S,
        )
        tables = {"http": config.table, "ops": ops_config.table}
        service.registry.register(MetricsSource(lambda: http_readings(tables)))
        return DrainingServer(
            config, OpsServer(ops_config), self._stopping, service.leaving, settings.lame_duck_s
        )

    def _add_ops_endpoints(self) -> None:
        ops_app, registry = self._service.ops_app, self._service.registry
        ops_app.include_router(router(Health(self._summary, self._not_alive, self._not_ready), registry))
        hurry = partial(self._parts.manager.hurry, REDRIVER)
        dead_letters = DeadLetters(self._parts.processor, hurry)
        authenticator = Authenticator(self._service.settings.jwks)
        ops_app.include_router(dead_letters_api.router(dead_letters, authenticator))

    def _summary(self) -> dict[str, Any]:
        counters = self._parts.manager.counters
        return {
            "service": self._service.name,
            "version": __version__,
            "instance": self._service.settings.instance,
            "loops": {loop.name: "well" if loop.is_well() else "dead" for loop in self._loops},
            "handled": counters.handled,
            "parked": counters.parked,
            "troubles": counters.transient_failures,
            "outbox_waiting": not self._parts.relay.is_idle(),
        }

    def _not_alive(self) -> list[str]:
        if not self._started.is_set():
            return []
        return [f"loop {loop.name} is dead or stuck" for loop in self._loops if not loop.is_well()]

    def _not_ready(self) -> list[str]:
        reasons = []
        if self._stopping.announced.is_set():
            reasons.append("stopping")
        if not self._started.is_set():
            reasons.append(self._waiting_for)
        else:
            reasons += readiness_failures(self._parts.manager, self._write_probe)
        return reasons
