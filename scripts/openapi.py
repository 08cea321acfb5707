"""Write docs/openapi.json anew, from the gateway's operations: python scripts/openapi.py"""

from pathlib import Path

import msgspec

from holdfast.services.gateway_bff.openapi import document

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"


def text() -> str:
    """Return the document as the file holds it."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
