"""The benchmarks' results: tables, ratios, the chart, and the page that they are put into."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from benchmarks import chart
from benchmarks.__main__ import CHART, PAGE, with_figures
from benchmarks.conclusions import draw, ratios
from benchmarks.database_counters import Usage
from benchmarks.load import Run
from benchmarks.parts import Options, by_message, closed, opened, system
from benchmarks.results import Result, Results, markdown, number, of_run, table

OPTIONS = Options()
USAGE = Usage(
    seconds=10.0,
    commits={"bus": 600.0, "cart_crud": 20.0},
    rollbacks=0.0,
    fsyncs=400.0,
    wal_records=3_000.0,
    wal_bytes_all=900_000.0,
    wal_bytes=480_000.0,
    cpu_seconds=5.0,
    cpu_s={"postgres": 0.25, "cart-crud": 0.05},
)


def results(*measured: Result) -> Results:
    found = Results({"machine": "2 processors"}, say=lambda _: None)
    for each in measured:
        found.add(each)
    return found


def test_a_run_becomes_percentiles_and_the_cost_of_one() -> None:
    run = Run(latencies_ms=[float(n) for n in range(1, 11)]).ended(2.0)
    result = of_run("latency", "Holdfast on PostgreSQL", "10/s", run, USAGE, {})
    assert (result.per_second, result.p50_ms, result.p99_ms, result.max_ms) == (5.0, 5.0, 10.0, 10.0)
    assert result.cost is not None
    assert result.cost.commits_all == 62.0
    assert result.cost.wal_bytes == 48_000.0
    assert result.cpu_ms == pytest.approx(30.0)


def test_a_cost_is_less_what_an_idle_platform_does_in_that_time() -> None:
    idle = Usage(20.0, {"bus": 200.0}, 0.0, 40.0, 0.0, 0.0, 0.0, 20.0, {"postgres": 0.2})
    cost = USAGE.per(10, idle)
    assert cost.commits == {"bus": 50.0, "cart_crud": 2.0}
    assert cost.fsyncs == 38.0
    assert cost.cpu_s["postgres"] == pytest.approx(0.02)  # by its own, shorter window


def test_an_unknown_size_of_the_wal_stays_unknown() -> None:
    assert replace(USAGE, wal_bytes=None).per(10).wal_bytes is None
    assert USAGE.per(10, replace(USAGE, wal_bytes=None)).wal_bytes is None


def test_tables_have_a_row_for_each_load_and_nothing_for_what_is_not_known() -> None:
    run = Run(latencies_ms=[1.5]).ended(1.0)
    found = results(
        of_run("latency", system("Kafka"), opened(1), run, USAGE, {"bus": "Kafka"}),
        Result("limits", "bare Kafka", "messages alone", 100, 0.05),
    )
    text = markdown(found)
    assert "| Holdfast on Kafka, 1/s | 1 | 1.00 | 1.50 | 1.50 | 300 | 620 | 400 | 480 |" in text
    assert "| bare Kafka, messages alone | 100 | 2,000 |\n" in text
    assert "| latency: Holdfast on Kafka, 1/s | 250 | 50.0 |" in text
    assert "- Holdfast on Kafka: bus: Kafka" in text
    assert msgspec.json.decode(found.json())["results"][1]["system"] == "bare Kafka"


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    lines = table(["a", "b"], [["1", "2"], ["3", "4"]]).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| 1 | 2 |", "| 3 | 4 |"]


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.126, "0.13"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_figures_have_the_digits_that_mean_something(value: float | None, text: str) -> None:
    assert number(value) == text


def test_ratios_compare_with_the_best_load_of_a_peer() -> None:
    found = results(
        Result("throughput", by_message("PostgreSQL"), closed(OPTIONS.messages_in_flight), 3_000, 1.0),
        Result("peers", "DBOS Transact", closed(4), 100, 1.0, p50_ms=30.0),
        Result("peers", "DBOS Transact", closed(64), 120, 1.0, p50_ms=300.0),
        Result("latency", system("PostgreSQL"), opened(40), 800, 20.0, p50_ms=20.0),
    )
    measured = {each.what: each.value for each in ratios(found, OPTIONS)}
    assert measured["rate, by message to DBOS Transact"] == 25.0
    assert measured["p50, at 40/s to DBOS Transact with 4 in flight"] == pytest.approx(2 / 3)
    assert not any("pgqueuer" in what for what in measured), "nothing is said of what was not measured"


def test_the_chart_is_well_formed_and_has_every_system() -> None:
    found = results(
        Result("latency", system("PostgreSQL"), opened(1), 20, 20.0, p50_ms=20.0, p99_ms=60.0),
        Result("latency", system("PostgreSQL"), opened(100), 20, 20.0, p50_ms=30.0, p99_ms=80.0),
        Result("peers", "DBOS <Transact>", opened(40), 20, 20.0, p50_ms=90.0, p99_ms=100.0),
        Result("throughput", by_message("Kafka"), closed(6000), 3_000, 1.0),
    )
    root = ET.fromstring(draw(found))
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "DBOS <Transact>" in texts
    assert "Holdfast on Kafka, by message, 6000 in flight" in texts
    assert "3,000" in texts
    assert float(root.attrib["height"]) > 2 * chart.lines_height()


def test_points_stand_where_the_logarithmic_axes_say() -> None:
    root = ET.fromstring(chart.document(400, chart.lines("t", "x", "y", {"a": [(1.0, 10.0), (10.0, 100.0)]})))
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    xs, ys = ([float(each.attrib[name]) for each in circles] for name in ("cx", "cy"))
    assert xs[1] - xs[0] == chart.WIDTH - 270
    assert ys[0] - ys[1] == 260


@pytest.mark.parametrize(
    ("values", "powers"), [([1.0, 9.0], (0, 1)), ([10.0, 10.0], (1, 2)), ([0.5, 1000.0], (-1, 3))]
)
def test_decades_enclose_the_values(values: list[float], powers: tuple[int, int]) -> None:
    assert chart.decades(values) == powers


def test_nothing_measured_is_an_empty_chart() -> None:
    assert ET.fromstring(draw(results())).attrib["height"] == "0"


def test_figures_replace_what_stands_between_the_marks() -> None:
    page = "# P\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nrest\n"
    assert with_figures(page, "new") == "# P\n<!-- figures: begin -->\n\nnew\n<!-- figures: end -->\nrest\n"
    written = with_figures(page, "new")
    assert with_figures(written, "new") == written


def test_the_page_of_the_project_has_the_marks_and_shows_the_chart() -> None:
    page = (Path(__file__).parents[3] / PAGE).read_text()
    assert with_figures(page, "x").count("<!-- figures: ") == 2
    assert f"]({CHART.name})" in page
