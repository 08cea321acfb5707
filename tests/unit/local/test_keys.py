"""Keys and tokens of a data folder."""

import json
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

from holdfast.bus.message_signature import read_keys
from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, PAYMENT, SERVICES, signers_read_by
from holdfast.local.keys import Keys, NoKeys


def claims(keys: Keys, token: str) -> dict[str, object]:
    public = KeySet.import_key_set(json.loads(keys.public.read_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.decode(token, public, algorithms=["EdDSA"]).claims


def test_a_shoppers_token_is_verified_by_the_public_keys(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    before = int(time.time())
    found = claims(keys, keys.token("ada", ttl_s=60))
    issued = found["iat"]
    assert isinstance(issued, int)
    assert before <= issued <= time.time()
    assert found == {
        "iss": "holdfast",
        "aud": "holdfast",
        "sub": "ada",
        "scope": "checkout:write",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 60,
    }


def test_an_operators_token_has_the_operators_scopes_and_no_shoppers(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    assert claims(keys, keys.token("ops", operator=True))["scope"] == "ops:read ops:act"


def test_the_public_file_holds_no_private_part_and_names_its_key(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    (public,) = json.loads(keys.public.read_text())["keys"]
    assert "d" not in public
    assert public["kid"] == json.loads(keys.signing.read_text())["kid"]


def test_keys_are_for_their_owner_alone_and_stay_what_they_are(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [file.name for file in files] == [
        "gateway-bff.key.json",
        "jwks.json",
        *(f"{name}.json" for name in sorted(SERVICES)),
        "provider.key",
        "services.jwks.json",
        "signing.json",
        "webhook.key",
    ]
    assert (tmp_path / "messages").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    contents = [file.read_text() for file in files]
    keys.ensure()
    assert [file.read_text() for file in files] == contents


def test_each_service_has_the_keys_of_those_whose_signed_messages_it_reads_and_no_others(
    tmp_path: Path,
) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    for service in SERVICES:
        read_keys(keys.messages(service)).require(service, signers_read_by(service))
        known = {key["service"] for key in json.loads(keys.messages(service).read_text())["keys"]}
        assert known == signers_read_by(service) | {service}
    assert signers_read_by(ORCHESTRATOR) == set(SERVICES) - {ORCHESTRATOR}
    assert signers_read_by(GATEWAY) == {ORCHESTRATOR}
    assert signers_read_by(PAYMENT) == set()


def test_a_folder_without_keys_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoKeys, match="start a platform there first"):
        Keys(tmp_path).token("ada")


def test_tokens_are_made_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hushes a warning is shared by all threads of a process: those that overlap would let one out."""
    keys, both = Keys(tmp_path), Barrier(2)
    keys.ensure()
    overlapped: list[int] = []
    encode = jwt.encode

    def meeting(*words: Any, **more: Any) -> str:
        with suppress(BrokenBarrierError):
            overlapped.append(both.wait(0.2))
        return encode(*words, **more)

    monkeypatch.setattr("holdfast.local.keys.jwt.encode", meeting)
    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(keys.token, ("ada", "eve")))
    assert (len(set(tokens)), overlapped) == (2, [])


def test_the_public_set_of_services_says_whose_each_key_is_and_keeps_what_an_operator_added(
    tmp_path: Path,
) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    (public,) = json.loads(keys.services_public.read_text())["keys"]
    private = json.loads(keys.of_service("gateway-bff").read_text())
    assert "d" not in public
    assert (public["kid"], public["service"]) == (private["kid"], "gateway-bff")
    assert private["kid"] != json.loads(keys.signing.read_text())["kid"], "it is not the shoppers' issuer's"
    keys.of_service("gateway-bff").unlink()
    keys.ensure()
    old, new = json.loads(keys.services_public.read_text())["keys"]
    assert old == public, "what was signed with the old key is still good until an operator takes it out"
    assert (new["kid"] != old["kid"], new["service"]) == (True, "gateway-bff")
