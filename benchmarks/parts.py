"""The parts of a whole measurement: each starts what it measures, adds to the results, audits the books."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import checkout_cost, limits
from benchmarks.by_message import MessageStarter
from benchmarks.holdfast_platform import BUSES, Measured, holdfast
from benchmarks.load import Run, closed_load
from benchmarks.peers.comparison import PEERS, Load, PeerPlan, peer
from benchmarks.results import HOLDFAST, Result, Results, of_run
from benchmarks.shop import CartLine, Shop

from holdfast.local.postgres import EmbeddedPostgres
from holdfast.local.session import Target, drive


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    buses: tuple[str, ...] = BUSES
    peers: tuple[str, ...] = tuple(PEERS)
    rates: tuple[float, ...] = (1, 10, 40, 100, 300, 500)
    seconds: float = 20.0
    checkouts: int = 8_000
    in_flight: int = 320
    provider_ms: int = 20
    lines: int = 3
    messages: int = 60_000
    messages_in_flight: int = 6_000
    finished: int = 0
    shoppers: int = 10_000
    pieces: int = 100
    peer_checkouts: int = 2_000
    cost_checkouts: int = 20
    settled: bool = True


QUICK = Options(
    rates=(20,),
    seconds=2,
    checkouts=200,
    in_flight=64,
    messages=2_000,
    messages_in_flight=2_000,
    shoppers=100,
    pieces=20,
    peer_checkouts=100,
    cost_checkouts=5,
    settled=False,
)
"""A smoke run: that all of it works, not how fast it is."""

Say = Callable[[str], None]


def system(bus: str) -> str:
    return f"{HOLDFAST} on {bus}"


def by_message(bus: str) -> str:
    return f"{HOLDFAST} on {bus}, by message"


def closed(in_flight: int) -> str:
    return f"{in_flight} in flight"


def opened(rate: float) -> str:
    return f"{rate:g}/s"


def measure_latency(options: Options, results: Results) -> None:
    """Open loads from HTTP to COMPLETED."""
    for bus in options.buses:
        with holdfast(bus, settled=options.settled) as measured:
            drive(_latency(measured, options, results))


async def _latency(measured: Measured, options: Options, results: Results) -> None:
    durations = {rate: max(options.seconds, 20 / rate if options.settled else 0) for rate in options.rates}
    shop = Shop(Target.of(measured.platform.info), options.lines)
    try:
        await shop.load()
        await shop.fill(_warm_up(options) + sum(round(rate * s) for rate, s in durations.items()))
        await shop.closed_load(_warm_up(options), 20)
        for rate, seconds in durations.items():
            run, usage = await measured.measure(shop.open_load(rate, seconds))
            settings = {**measured.settings, "requests repeated": str(shop.retries)}
            results.add(of_run("latency", system(measured.bus), opened(rate), run, usage, settings))
    finally:
        await shop.close()


def measure_throughput(options: Options, results: Results) -> None:
    """Closed loads: from HTTP, with a prompt provider and with one that takes its time; and by message."""
    for bus in options.buses:
        with holdfast(bus, settled=options.settled) as measured:
            drive(_throughput(measured, options, results))
        with holdfast(bus, in_process_provider=True, settled=options.settled) as measured:
            drive(_by_message(measured, options, results))


async def _throughput(measured: Measured, options: Options, results: Results) -> None:
    shop = Shop(Target.of(measured.platform.info), options.lines)
    try:
        await shop.load()
        await shop.fill(_warm_up(options) + 2 * options.checkouts)
        await shop.closed_load(_warm_up(options), options.in_flight)
        for provider_ms in (0, options.provider_ms):
            await measured.provider_answers_in(provider_ms)
            load = shop.closed_load(options.checkouts, options.in_flight)
            run, usage = await measured.measure(load)
            name = f"{closed(options.in_flight)}, provider {provider_ms} ms"
            results.add(of_run("throughput", system(measured.bus), name, run, usage, measured.settings))
    finally:
        await shop.close()


async def _by_message(measured: Measured, options: Options, results: Results) -> None:
    await _load_products(measured)
    starter = MessageStarter(measured, options.lines)

    async def load(count: int) -> Run:
        started = starter.write(count)
        return await asyncio.to_thread(starter.run, started, options.messages_in_flight)

    try:
        await load(_warm_up(options) + options.finished)
        started = starter.write(options.messages)
        work = asyncio.to_thread(starter.run, started, options.messages_in_flight)
        run, usage = await measured.measure(work)
    finally:
        starter.close()
    settings = {
        **measured.settings,
        "provider": "inside payment-gateway",
        "finished before": f"{options.finished:,}",
    }
    name = closed(options.messages_in_flight)
    results.add(of_run("throughput", by_message(measured.bus), name, run, usage, settings))


def measure_hot(options: Options, results: Results) -> None:
    """One code that all want: with enough pieces, and with too few."""
    for bus in options.buses:
        with holdfast(bus, settled=options.settled) as measured:
            drive(_hot(measured, options, results))


async def _hot(measured: Measured, options: Options, results: Results) -> None:
    shop = Shop(Target.of(measured.platform.info), lines=1)

    async def load(name: str, lines_of: Callable[[int], list[CartLine]] | None, orders: int) -> None:
        await shop.fill(options.shoppers, lines_of)
        shop.ends.clear()
        work = closed_load(shop.try_to_buy, options.shoppers, options.in_flight)
        run, usage = await measured.measure(work)
        assert shop.ends["COMPLETED"] == orders, f"{shop.ends} of {name}: {orders} must be completed"
        results.add(of_run("hot product", system(measured.bus), name, run, usage, measured.settings))

    try:
        await shop.load()
        await shop.load_product({"hot-ample": 100}, 10**9)
        await shop.load_product({"hot-scarce": 100}, options.pieces)
        await shop.fill(_warm_up(options))
        await shop.closed_load(_warm_up(options), options.in_flight)
        count = options.shoppers
        await load(SPREAD, None, count)
        await load(HOT_AMPLE, lambda _: [("hot-ample", 1, 100)], count)
        await load(HOT_SCARCE, lambda _: [("hot-scarce", 1, 100)], min(count, options.pieces))
    finally:
        await shop.close()


SPREAD, HOT_AMPLE, HOT_SCARCE = "spread", "one code, enough pieces", "one code, too few pieces"


def measure_peers(options: Options, results: Results) -> None:
    """The same four steps by other systems, each on a database of its own on one server with our settings."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "cluster") as server,
    ):
        for name in options.peers:
            loads, warm_up = _peer_loads(PEERS[name], options), _warm_up(options)
            carts = warm_up + sum(load.count for load in loads)
            with peer(name, server, carts, settled=options.settled) as running:
                running.carry_out(Load("warm-up", warm_up, in_flight=4))
                for load in loads:
                    run, usage = running.run(load)
                    results.add(of_run("peers", name, load.name, run, usage, running.settings))


def _peer_loads(plan: PeerPlan, options: Options) -> list[Load]:
    most, processes = plan.most_in_flight, plan.processes
    several = f", {processes} processes" if processes > 1 else ""
    return [
        Load(closed(1), options.peer_checkouts // 8, in_flight=1),
        Load(closed(4), options.peer_checkouts // 4, in_flight=4),
        Load(closed(most) + several, options.peer_checkouts, in_flight=most, processes=processes),
        Load(opened(40), round(40 * options.seconds), rate=40),
    ]


def measure_limits(options: Options, results: Results) -> None:
    """The bare server and the bare broker, with what a load by message has left behind."""
    sagas = options.messages // 4
    for bus in options.buses:
        with holdfast(bus, in_process_provider=True, settled=options.settled) as measured:
            drive(_load_products(measured))
            starter = MessageStarter(measured, options.lines)
            starter.run(starter.write(sagas), options.messages_in_flight)
            starter.close()
            bare = limits.bare_kafka if bus == "Kafka" else limits.bare_postgres
            measured.meter.start(settled=options.settled)
            run = bare(measured, sagas)
            usage = measured.meter.stop(settled=options.settled)
            name = "messages alone" if bus == "Kafka" else f"rows alone, batches of {limits.BATCH}"
            cost = usage.per(run.count)
            results.add(Result("limits", f"bare {bus}", name, run.count, run.seconds, cost=cost))


def measure_cost(options: Options, results: Results) -> None:
    """One checkout at a time on the PostgreSQL bus, less what an idle platform does."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cost = checkout_cost.measure(
            Path(folder), options.cost_checkouts, options.seconds, options.lines, settled=options.settled
        )
    for name, usage, wire in (
        ("one at a time", cost.usage, cost.wire),
        ("a second of an idle platform", cost.idle, cost.idle_wire),
    ):
        results.add(
            Result(
                "cost",
                system("PostgreSQL"),
                name,
                cost.checkouts,
                0.0,
                cost=usage,
                round_trips=wire.round_trips_all,
                statements=wire.statements_all,
            )
        )


PARTS: dict[str, Callable[[Options, Results], None]] = {
    "cost": measure_cost,
    "latency": measure_latency,
    "throughput": measure_throughput,
    "peers": measure_peers,
    "hot": measure_hot,
    "limits": measure_limits,
}


def _warm_up(options: Options) -> int:
    return 500 if options.settled else 50


async def _load_products(measured: Measured) -> None:
    shop = Shop(Target.of(measured.platform.info))
    await shop.load()
    await shop.close()
