"""Lines for people: a full or closed terminal never delays their writer, and never ends the thread."""

import threading

from tests.eventually import eventually

from holdfast.local.console_writer import ConsoleWriter


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    stopped, said = threading.Event(), list[str]()

    def say(line: str) -> None:
        assert stopped.wait(60)
        said.append(line)

    writer = ConsoleWriter(say, lines_max=10)
    writer.start()
    for number in range(30):
        writer.write(str(number))
    assert writer.unsaid >= 19
    stopped.set()
    writer.end()
    assert said == [str(number) for number in range(len(said))]
    assert len(said) + writer.unsaid == 30


def test_a_terminal_that_is_gone_or_a_full_disk_ends_no_thread() -> None:
    said = list[str]()
    failures = iter([BrokenPipeError(), OSError(28, "No space left on device")])

    def say(line: str) -> None:
        for failure in failures:
            raise failure
        said.append(line)

    writer = ConsoleWriter(say)
    writer.start()
    for line in ("lost", "lost too", "back"):
        writer.write(line)
    eventually(lambda: said == ["back"], "the third line is said")
    assert writer.unsaid == 2
    writer.end()
