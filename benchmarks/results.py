"""What was measured, as a JSON document and as Markdown tables. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from benchmarks.database_counters import Usage
from benchmarks.load import Run

HOLDFAST = "Holdfast"


@dataclass(frozen=True)
class Result:
    """One measured load: what did it, what was asked of it, how fast it was, and what one checkout cost."""

    part: str
    system: str
    load: str
    count: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    cost: Usage | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    round_trips: float | None = None
    statements: float | None = None

    @property
    def per_second(self) -> float:
        """How many ended a second; 0 if that says nothing."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float | None:
        """Processor time a checkout of all processes, the load generator's too."""
        return 1000 * sum(self.cost.cpu_s.values()) if self.cost and self.cost.cpu_s else None


def of_run(
    part: str, system: str, load: str, run: Run, usage: Usage | None, settings: Mapping[str, str]
) -> Result:
    return Result(
        part,
        system,
        load,
        run.count,
        run.seconds,
        run.percentile(0.5),
        run.percentile(0.99),
        run.latencies_ms[-1],
        usage.per(run.count) if usage else None,
        settings,
    )


@dataclass(frozen=True)
class Ratio:
    """A comparison within one run, which a busy machine disturbs less than the figures themselves."""

    what: str
    value: float
    wanted: str


@dataclass
class Results:
    """All of one run, with the machine that it ran on."""

    machine: Mapping[str, str]
    results: list[Result] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    say: Callable[[str], None] = field(default=print, repr=False)

    def add(self, result: Result) -> None:
        self.results.append(result)
        self.say(f"{result.part}: {result.system}, {result.load}: {_short(result)}")

    def find(self, part: str, system: str, load: str) -> Result | None:
        return next(
            (each for each in self.results if (each.part, each.system, each.load) == (part, system, load)),
            None,
        )

    def json(self) -> bytes:
        document = {"machine": self.machine, "results": self.results, "ratios": self.ratios}
        return msgspec.json.format(msgspec.json.encode(document), indent=2)


def markdown(results: Results) -> str:
    """Return all tables, one a part, then processor time by process, the ratios and the settings."""
    parts = dict.fromkeys(each.part for each in results.results)
    blocks = [_machine(results.machine)]
    for part in parts:
        mine = [each for each in results.results if each.part == part]
        blocks.append(f"### {part.capitalize()}\n\n{_measures(mine)}")
    if any(each.cost and each.cost.cpu_s for each in results.results):
        blocks.append(f"### Processor time, ms a checkout\n\n{_processes(results.results)}")
    if results.ratios:
        rows = [[each.what, f"{each.value:.2f}", each.wanted] for each in results.ratios]
        blocks.append("### Ratios\n\n" + table(["Ratio", "Measured", "Wanted"], rows))
    settings = {each.system: each.settings for each in results.results if each.settings}
    lines = [f"- {name}: {'; '.join(f'{k}: {v}' for k, v in how.items())}" for name, how in settings.items()]
    blocks.append("### Settings\n\n" + "\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its first column to the left and all others to the right."""
    marks = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows))


def _machine(machine: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


def _measures(results: Sequence[Result]) -> str:
    """Return a row for each load, without columns of which nothing is known."""
    headings = [
        "System, load",
        *(
            "Checkouts",
            "a second",
            "p50 ms",
            "p99 ms",
            "CPU ms",
            "commits",
            "fsyncs",
            "WAL kB",
            "round trips",
            "statements",
        ),
    ]
    rows = []
    for each in results:
        cost = each.cost
        wal = None if cost is None or cost.wal_bytes is None else cost.wal_bytes / 1000
        rows.append(
            [
                f"{each.system}, {each.load}",
                f"{each.count:,}",
                number(each.per_second or None),
                number(each.p50_ms),
                number(each.p99_ms),
                number(each.cpu_ms),
                number(cost.commits_all if cost else None),
                number(cost.fsyncs if cost else None),
                number(wal),
                number(each.round_trips),
                number(each.statements),
            ]
        )
    known = [n for n in range(len(headings)) if any(row[n] for row in rows)]
    return table([headings[n] for n in known], [[row[n] for n in known] for row in rows])


def _processes(results: Sequence[Result]) -> str:
    costs = [(each, each.cost) for each in results if each.cost and each.cost.cpu_s]
    names = list(dict.fromkeys(name for _, cost in costs for name in cost.cpu_s))
    rows = []
    for each, cost in costs:
        cells = [number(1000 * cost.cpu_s[name]) if name in cost.cpu_s else "" for name in names]
        rows.append([f"{each.part}: {each.system}, {each.load}", *cells])
    return table(["Load", *names], rows)


def number(value: float | None) -> str:
    """Write a figure with the digits that mean something; nothing if it is not known."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _short(result: Result) -> str:
    text = f"{number(result.per_second)} a second" if result.per_second else f"of {result.count}"
    if result.p50_ms is not None:
        text += f", p50 {number(result.p50_ms)} ms, p99 {number(result.p99_ms)} ms"
    return text + (f", {number(result.cpu_ms)} ms CPU" if result.cpu_ms else "")
