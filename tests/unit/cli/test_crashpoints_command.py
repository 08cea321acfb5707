"""`holdfast crashpoints` names exactly the places at which HOLDFAST_CRASH_AT can end a process."""

import json

from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.contracts.topics import SERVICES
from holdfast.messaging.crashpoints import CRASHPOINTS


def listed(*options: str, width: int = 200) -> str:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["crashpoints", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_holds_each_place_once_with_what_it_lies_between() -> None:
    heads, *lines = listed().splitlines()
    assert heads.split() == ["name", "between", "services"]
    assert [line.split()[0] for line in lines] == list(CRASHPOINTS)
    for line, place in zip(lines, CRASHPOINTS.values(), strict=True):
        assert place.text in line
        services = "all" if place.services == SERVICES else ", ".join(place.services)
        assert line.rstrip().endswith(services)


def test_names_are_whole_on_a_narrow_terminal() -> None:
    assert all(name in listed(width=80) for name in CRASHPOINTS)


def test_json_is_one_object_of_the_same_places() -> None:
    assert json.loads(listed("--json")) == {
        name: {"text": place.text, "services": list(place.services)} for name, place in CRASHPOINTS.items()
    }
