"""Every message type has its JSON schema, and the schema says what the codec does."""

import json

import pytest
from scripts.generate_schemas import FOLDER, render
from tests.samples import SAMPLES

from holdfast.contracts.codec import encode
from holdfast.contracts.topics import PAYLOADS


def test_the_schemas_are_those_that_the_structs_give() -> None:
    written = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert written == render(), "run scripts/generate_schemas.py"


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_schema_names_every_field_that_is_sent(kind: str) -> None:
    schema = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
    root = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    sent = json.loads(encode(SAMPLES[kind]))
    assert set(sent) == set(root["properties"])
    assert set(root["required"]) <= set(sent)
    assert schema["$id"] == f"holdfast:{kind}/1"
