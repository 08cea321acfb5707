"""What the figures of one run say together: ratios, and the chart. Pure."""

from collections.abc import Sequence

from benchmarks import chart
from benchmarks.parts import HOT_AMPLE, HOT_SCARCE, SPREAD, Options, by_message, closed, opened, system
from benchmarks.results import Ratio, Result, Results

DBOS, PGQUEUER, AWA = "DBOS Transact", "pgqueuer", "awa"
POSTGRES, KAFKA = "PostgreSQL", "Kafka"


def ratios(results: Results, options: Options) -> list[Ratio]:
    """Return every ratio of which both sides were measured."""
    http = f"{closed(options.in_flight)}, provider 0 ms"
    messages = closed(options.messages_in_flight)
    found = []

    def rate(what: str, wanted: str, over: tuple[str, str, str], under: tuple[str, str, str]) -> None:
        upper, lower = results.find(*over), results.find(*under)
        if upper and lower:
            found.append(Ratio(f"rate, {what}", upper.per_second / lower.per_second, wanted))

    for name, by_message_wanted in ((DBOS, "at least 25"), (PGQUEUER, "at least 8.5"), (AWA, "")):
        best = _best(results, name)
        if best:
            other = (best.part, best.system, best.load)
            mine = ("throughput", by_message(POSTGRES), messages)
            rate(f"by message to {name}", by_message_wanted, mine, other)
            rate(f"from HTTP to {name}", "", ("throughput", system(POSTGRES), http), other)
    for what, each, load in (("from HTTP", system, http), ("by message", by_message, messages)):
        over, under = ("throughput", each(KAFKA), load), ("throughput", each(POSTGRES), load)
        rate(f"{what}, Kafka to PostgreSQL", "at least 0.7", over, under)
    for bus in options.buses:
        spread = ("hot product", system(bus), SPREAD)
        for hot in (HOT_AMPLE, HOT_SCARCE):
            rate(f"{bus}, {hot} to spread", "at least 0.8", ("hot product", system(bus), hot), spread)
        limit = next((each for each in results.results if each.system == f"bare {bus}"), None)
        if limit:
            mine = ("throughput", by_message(bus), messages)
            rate(f"by message to bare {bus}", "", mine, (limit.part, limit.system, limit.load))
    return found + _latency(results)


def _best(results: Results, name: str) -> Result | None:
    """Return the load of a peer that had the highest rate."""
    mine = [each for each in results.results if each.system == name]
    return max(mine, key=lambda each: each.per_second, default=None)


def _latency(results: Results) -> list[Ratio]:
    mine = results.find("latency", system(POSTGRES), opened(40))
    its = results.find("peers", DBOS, closed(4))
    if not (mine and its and mine.p50_ms and its.p50_ms):
        return []
    what = "p50, at 40/s to DBOS Transact with 4 in flight"
    return [Ratio(what, mine.p50_ms / its.p50_ms, "at most 0.67")]


def draw(results: Results) -> str:
    """Return the chart: latency by rate, and throughput; whichever was measured."""
    parts, height = [], 0
    for quantile, pick in (("p50", _p50), ("p99", _p99)):
        series = _series(results, pick)
        if series:
            title = f"Latency from POST to COMPLETED, {quantile}, by rate"
            parts.append(chart.lines(title, "checkouts a second (open load)", "ms", series, height))
            height += chart.lines_height()
    rows = [
        (_bar(each), each.per_second)
        for each in results.results
        if each.part in {"throughput", "limits"} or each is _best(results, each.system)
        if each.part not in {"latency", "cost", "hot product"}
    ]
    if rows:
        parts.append(chart.bars("Checkouts a second", rows, height))
        height += chart.bars_height(len(rows))
    return chart.document(height, *parts)


def _bar(result: Result) -> str:
    return f"{result.system}, {result.load}" if result.part == "throughput" else result.system


def _p50(result: Result) -> float:
    return result.p50_ms or 0.0


def _p99(result: Result) -> float:
    return result.p99_ms or 0.0


def _series(results: Results, pick: object) -> dict[str, Sequence[chart.Point]]:
    """Return the open loads of each system as points."""
    assert callable(pick)
    series: dict[str, list[chart.Point]] = {}
    for each in results.results:
        if each.part in {"latency", "peers"} and each.load.endswith("/s") and pick(each) > 0:
            series.setdefault(each.system, []).append((float(each.load[:-2]), pick(each)))
    return dict(series)
