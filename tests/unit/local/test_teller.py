"""Lines for people: whoever tells them is never held up, and the thread that says them never ends of it."""

import threading

from tests.eventually import eventually

from holdfast.local.console_writer import ConsoleWriter


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    stopped, said = threading.Event(), list[str]()

    def say(line: str) -> None:
        assert stopped.wait(60)
        said.append(line)

    teller = ConsoleWriter(say, lines_max=10)
    teller.start()
    for number in range(30):
        teller.tell(str(number))
    assert teller.unsaid >= 19
    stopped.set()
    teller.end()
    assert said == [str(number) for number in range(len(said))]
    assert len(said) + teller.unsaid == 30


def test_a_terminal_that_is_gone_or_a_full_disk_ends_no_thread() -> None:
    said = list[str]()
    troubles = iter([BrokenPipeError(), OSError(28, "No space left on device")])

    def say(line: str) -> None:
        for trouble in troubles:
            raise trouble
        said.append(line)

    teller = ConsoleWriter(say)
    teller.start()
    for line in ("lost", "lost too", "back"):
        teller.tell(line)
    eventually(lambda: said == ["back"], "the third line is said")
    assert teller.unsaid == 2
    teller.end()
