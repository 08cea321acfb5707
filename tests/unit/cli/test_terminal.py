"""The output for a terminal: no data in it moves the cursor, hides or styles text; JSON stays JSON."""

import io
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli import main, terminal
from holdfast.cli.payment import table_of as payments
from holdfast.cli.saga_page import page_of, table_of
from holdfast.cli.terminal import console, note, say, say_json, visible

C0 = [chr(code) for code in (*range(32), 127)]
C1 = [chr(code) for code in range(128, 160)]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
INVISIBLE = list(
    "\u00ad\u034f\u115f\u180e\u200b\u200c\u200d\u2028\u2029\u2060\u2800\u3164\ufe0f\ufeff\uffa0\U000e0041\U000e0100"
)
HOSTILE = "".join([*C0, *C1, *BIDI, *INVISIBLE])
EVIL = "\x1b[2J\x9b31m\u202eevil\x07\r[red]bold[/red] :smile: \x1b]0;title\x07"


def is_harmless(text: str, besides: str = "\n") -> bool:
    return all(
        character in besides or (character.isprintable() and unicodedata.category(character)[0] != "C")
        for character in text
    ) and not set(text) & set(HOSTILE) - set(besides)


@pytest.mark.parametrize("character", list(HOSTILE), ids=ascii)
def test_every_control_bidi_and_invisible_character_shows_as_its_escape(character: str) -> None:
    shown = visible(f"a{character}b")
    assert shown.isascii()
    assert shown == f"a{character.encode('unicode_escape').decode()}b"


@given(st.text())
def test_whatever_is_shown_is_harmless_and_shown_once_is_shown_for_good(text: str) -> None:
    shown = visible(text)
    assert is_harmless(shown, "")
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["pen", "Grüße, 10 €", "价格", "café", "[red]", ""])
def test_what_can_be_seen_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_line_feed_from_outside_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb", "c")
    note("a\n0 dead letters")
    said = capsys.readouterr()
    assert said.out == "a\\nb\nc\n"
    assert said.err == "a\n  0 dead letters\n"


def printed(renderable: Any, monkeypatch: pytest.MonkeyPatch, **more: Any) -> str:
    """Print on the commands' own console and return what a pipe or a terminal gets."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console(**more).print(renderable)
    return stream.getvalue()


SAGA = {
    "saga_id": EVIL,
    "state": EVIL,
    "started_ms": 0,
    "ended_ms": 1,
    "reason": EVIL,
    "stalled_since_ms": 0,
    "owed": {"steps": [], "amount_minor": 0, "currency": EVIL, "pieces": {}},
}
PAGE = {
    "saga": SAGA,
    "now_ms": 5,
    "detail": EVIL,
    "checkout": {"total_minor": 1, "currency": EVIL, "user_id": EVIL, "pieces": 1, "cart_id": EVIL},
    "history": [{"kind": EVIL, "path": [EVIL], "sent": [EVIL], "at_ms": 1}],
    "awaited": [{"step": EVIL, "command": EVIL, "fired": 1, "due_ms": 1}],
    "ignored": [{"kind": EVIL, "reason": EVIL, "times": 1, "last_ms": 1}],
    "actions": [{"operator": EVIL, "action": EVIL, "reason": EVIL, "at_ms": 1}],
}
PAYMENT = {
    **dict.fromkeys(
        ("saga_id", "state", "currency", "charge_id", "refund_id", "last_error", "decline_code"), EVIL
    ),
    "amount_minor": 1,
    "undo_requested": True,
    "attempts": 1,
}


def _cells() -> Table:
    table = Table(EVIL, box=None)
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    return table


@pytest.mark.parametrize(
    "make",
    [
        lambda: EVIL,
        lambda: Text(EVIL),
        _cells,
        lambda: table_of([SAGA], 5),
        lambda: page_of(PAGE),
        lambda: payments([PAYMENT]),
    ],
    ids=["str", "text", "table", "sagas", "a saga", "payments"],
)
def test_no_table_lets_its_data_speak_to_the_terminal(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = printed(make(), monkeypatch, width_in_pipes=2_000)
    assert is_harmless(said)
    assert "\\x1b[2J" in said
    assert "[red]bold[/red]" in said, "brackets are text, not markup"
    assert ":smile:" in said


def test_on_a_terminal_our_own_colours_are_the_only_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    said = printed(Text(EVIL, "red"), monkeypatch)
    assert said.replace("\x1b[31m", "").replace("\x1b[0m", "").count("\x1b") == 0
    assert said.startswith("\x1b[31m")


@given(st.text() | st.just(HOSTILE))
def test_json_stays_json_and_says_the_same_in_plain_ascii(text: str) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        say_json({"x": text, text: [text]}, indent=2)
    said = stream.getvalue()
    assert said.isascii()
    assert is_harmless(said)
    assert json.loads(said) == {"x": text, text: [text]}


def test_a_bug_is_told_without_a_code_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError(EVIL)
    main._died(ValueError, error, None)
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert is_harmless(said)


def test_the_command_itself_prints_through_it(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "status", "--data", f"{tmp_path}/\x1b[2J"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3
    assert "\\x1b[2J" in done.stderr
    assert is_harmless(done.stderr)


def test_every_console_is_of_the_one_make() -> None:
    assert isinstance(console(), Console)
    assert console()._markup is False
    assert terminal.console(stderr=True).stderr
