"""Write docs/state_machine.md from the definition of the checkout."""

from pathlib import Path

from holdfast.saga.diagram import page
from holdfast.sagas.checkout import CHECKOUT

TARGET = Path(__file__).parent.parent / "docs" / "state_machine.md"


def render() -> str:
    """Return the page as it should be."""
    return page(CHECKOUT)


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(render(), "utf-8")
