"""Write docs/state_machine.md and its like from the definitions of the sagas."""

from pathlib import Path

from holdfast.saga.definition import SagaDefinition
from holdfast.saga.diagram import page
from holdfast.sagas.checkout import CHECKOUT
from holdfast.sagas.return_order import RETURN_ORDER

DOCS = Path(__file__).parent.parent / "docs"
TARGET = DOCS / "state_machine.md"
PAGES: dict[Path, SagaDefinition] = {TARGET: CHECKOUT, DOCS / "state_machine_return_order.md": RETURN_ORDER}


def render(path: Path = TARGET) -> str:
    """Return a page as it should be."""
    return page(PAGES[path])


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(render(path), "utf-8")
