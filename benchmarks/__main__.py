"""Measures Holdfast on this machine, beside other systems and the bare limits.

Every part starts what it measures in temporary folders (embedded PostgreSQL with fsync and synchronous_commit
on, a real Kafka), runs its loads, audits the books, and fails if they do not balance. All of it, the load
generator too, shares the machine's processors. docs/performance.md says how each figure comes about.
"""

import argparse
import os
import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.conclusions import draw, ratios
from benchmarks.parts import PARTS, QUICK, Options
from benchmarks.results import Results, markdown

RESULTS = Path(".bench")
DOCS = Path("docs")
PAGE, CHART = DOCS / "performance.md", DOCS / "performance.svg"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_SIZES = ("seconds", "checkouts", "messages", "finished", "shoppers", "peer_checkouts")
_COUNTS = (
    "checkouts",
    "in_flight",
    "messages",
    "messages_in_flight",
    "finished",
    "shoppers",
    "peer_checkouts",
)


def main() -> None:
    arguments = _parser().parse_args()
    options = _options(arguments)
    results = Results(machine(options, quick=arguments.quick))
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = ""
    for name in arguments.only or PARTS:
        print(f"-- {name}", flush=True)
        PARTS[name](options, results)
        results.ratios = ratios(results, options)
        text = markdown(results)
        (arguments.results / "results.json").write_bytes(results.json())  # what is measured is kept
        (arguments.results / "results.md").write_text(text)
        (arguments.results / "chart.svg").write_text(draw(results))
    print(text)
    print(f"results.json, results.md and chart.svg are in {arguments.results}/")
    if arguments.write_docs:
        CHART.write_text(draw(results))
        PAGE.write_text(with_figures(PAGE.read_text(), text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute or two")
    parser.add_argument("--bus", action="append", choices=Options.buses, help="this bus alone")
    parser.add_argument("--peer", action="append", choices=Options.peers, help="this peer alone")
    parser.add_argument("--rates", type=float, nargs="+", help="of the open loads, a second")
    parser.add_argument("--seconds", type=float, help="of each open load")
    for name in _COUNTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for results (%(default)s)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the figures into {PAGE} and {CHART}")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    several = {"buses": arguments.bus, "peers": arguments.peer, "rates": arguments.rates}
    given: dict[str, Any] = {name: tuple(values) for name, values in several.items() if values}
    given |= {name: getattr(arguments, name) for name in ("seconds", *_COUNTS)}
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(QUICK if arguments.quick else Options(), **chosen)


def machine(options: Options, *, quick: bool) -> dict[str, str]:
    """Describe this machine and moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = os.getloadavg()[0]
    return {
        "when": f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC" + (" (a smoke run: no figures)" if quick else ""),
        "machine": f"{os.cpu_count()} processors, {memory / 1024**3:.0f} GiB, {platform.system()}",
        "load before the run": f"{load:.2f} (processes that others of this machine were running)",
        "sizes": ", ".join(f"{name.replace('_', ' ')} {getattr(options, name):,}" for name in _SIZES),
        "Python": platform.python_version(),
    }


def with_figures(page: str, figures: str) -> str:
    """Return the page with these figures between its marks."""
    before, rest = page.split(_BEGIN, 1)
    _, after = rest.split(_END, 1)
    return f"{before}{_BEGIN}\n\n{figures}\n{_END}{after}"


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"took {time.monotonic() - began:.0f} s")
