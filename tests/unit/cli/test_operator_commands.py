"""How operators' commands reach a service, and what they make of its answers."""

import getpass
from pathlib import Path

import httpx2
import pytest
import typer
from tests.unit.cli.fake_platform import FakeData

from holdfast.cli.common import ExitCode, operator_name
from holdfast.cli.operator import Operator
from holdfast.local import info


def test_an_answer_that_is_no_problem_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that takes no more connections answers in plain text."""
    data = FakeData(tmp_path)
    monkeypatch.setattr(info, "find", data.find)
    monkeypatch.setattr(httpx2, "request", lambda *_, **__: httpx2.Response(503, text="Service Unavailable"))
    with pytest.raises(typer.Exit) as ended:
        Operator(tmp_path).get("gateway-bff", "/v1/dead-letters")
    assert ended.value.exit_code == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err == "gateway-bff answers 503 Service Unavailable\n"


def test_a_user_without_a_name_acts_under_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert operator_name().startswith("uid-")
