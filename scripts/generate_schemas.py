"""Write a JSON schema of every message type into src/holdfast/contracts/schemas."""

import json
from pathlib import Path

import msgspec

from holdfast.contracts.messages import SCHEMA_VERSION
from holdfast.contracts.topics import MESSAGES, PAYLOADS

FOLDER = Path(__file__).parent.parent / "src" / "holdfast" / "contracts" / "schemas"


def render() -> dict[str, str]:
    """Return the schema of each type, by the name of its file."""
    return {f"{kind}.json": _schema(kind) for kind in sorted(PAYLOADS)}


def _schema(kind: str) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"holdfast:{kind}/{SCHEMA_VERSION}",
        "$comment": f"The value of a {kind} on {MESSAGES[kind].topic}.",
        **msgspec.json.schema(PAYLOADS[kind]),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for name, text in render().items():
        (FOLDER / name).write_text(text, "utf-8")
