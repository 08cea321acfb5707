"""A call in a thread of its own, for the buses on which calls wait."""

import threading
from collections.abc import Callable
from typing import Generic

from tests.conformance.harness import T

PATIENCE_S = 60.0


class InThread(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._value: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> T:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the call never returned"
        if self._error is not None:
            raise self._error
        return self._value[0]

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised where the scenario waits for the call
            self._error = error
