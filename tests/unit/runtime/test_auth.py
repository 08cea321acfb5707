"""Bearer tokens: who is let in, who is not, and what changes when the keys do."""

import base64
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeyParameters, OctKey, OKPKey, RSAKey
from tests.callers import keys

from holdfast.local.keys import Keys
from holdfast.runtime import auth
from holdfast.runtime.auth import OPERATOR_ACTS, SHOPPER, Authenticator, User
from holdfast.runtime.problems import Problem

NOW = 1_800_000_000.0


class Clock:
    """Both clocks of an authenticator."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Gate:
    """An authenticator at a fixed time, and tokens for it."""

    def __init__(self, made: Keys) -> None:
        self.keys = made
        self.clock = Clock()
        self.authenticator = Authenticator(made.public, self.clock, self.clock)
        self.key = OKPKey.import_key(json.loads(made.signing.read_text()))

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is valid but for what is said; a claim that is None is left out."""
        sound = {
            "iss": "holdfast",
            "aud": "holdfast",
            "sub": "ada",
            "scope": "checkout:write",
            "nbf": NOW,
            "exp": NOW + 60,
        }
        payload = {name: value for name, value in (sound | claims).items() if value is not None}
        head = {"alg": "EdDSA", "typ": "JWT", "kid": self.key.kid} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jwt.encode(head, payload, key or self.key, algorithms=[head["alg"]])

    def refusal(self, authorization: str | None, scope: str = SHOPPER) -> tuple[int, str]:
        """The status and the challenge with which this is refused."""
        with pytest.raises(Problem) as caught:
            self.authenticator.require(authorization, scope)
        problem = caught.value
        return problem.kind.status, problem.headers.get("WWW-Authenticate", "")


@pytest.fixture
def gate() -> Iterator[Gate]:
    with keys() as made:
        yield Gate(made)


def test_a_valid_token_says_who_and_what_for(gate: Gate) -> None:
    user = gate.authenticator.user(f"Bearer {gate.token(scope='ops:read ops:act')}")
    assert user == User("ada", frozenset({"ops:read", "ops:act"}))


def test_the_platforms_own_tokens_are_valid() -> None:
    with keys() as made:
        authenticator = Authenticator(made.public)
        assert authenticator.require(f"bearer {made.token('ada')}", SHOPPER).name == "ada"
        operator = authenticator.require(f"Bearer {made.token('oscar', operator=True)}", OPERATOR_ACTS)
        assert operator.name == "oscar"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "elsewhere"},
        {"iss": None},
        {"aud": "elsewhere"},
        {"aud": ["a", "b"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\x00b"},
        {"sub": "a\n"},
        {"sub": "a" * 201},
        {"sub": 7},
        {"sub": "4111111111111111"},
        {"sub": "ada 4111-1111-1111-1111"},
        {"exp": None},
        {"exp": NOW - 31},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW + 31},
        {"scope": ["checkout:write"]},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(gate: Gate, claims: dict[str, Any]) -> None:
    status, challenge = gate.refusal(f"Bearer {gate.token(**claims)}")
    assert (status, challenge) == (401, 'Bearer realm="holdfast", error="invalid_token"')


@pytest.mark.parametrize("claims", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"aud": ["x", "holdfast"]}])
def test_clocks_may_differ_by_half_a_minute_and_an_audience_may_be_one_of_several(
    gate: Gate, claims: dict[str, Any]
) -> None:
    assert gate.authenticator.require(f"Bearer {gate.token(**claims)}", SHOPPER).name == "ada"


def test_only_a_key_of_the_platform_signs_by_its_own_algorithm(gate: Gate) -> None:
    parameters: KeyParameters = {"kid": str(gate.key.kid)}
    stranger = OKPKey.generate_key("Ed25519", parameters, private=True)
    assert gate.refusal(f"Bearer {gate.token(stranger)}")[0] == 401
    assert gate.refusal(f"Bearer {gate.token(header={'kid': 'other'})}")[0] == 401
    assert gate.refusal(f"Bearer {gate.token(header={'kid': None})}")[0] == 401
    public = json.loads(gate.keys.public.read_text())["keys"][0]["x"]
    confused = OctKey.import_key(public, parameters)
    assert gate.refusal(f"Bearer {gate.token(confused, header={'alg': 'HS256'})}")[0] == 401
    rsa = RSAKey.generate_key(2048, parameters, private=True)
    assert gate.refusal(f"Bearer {gate.token(rsa, header={'alg': 'RS256'})}")[0] == 401
    head, payload, _ = gate.token().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": gate.key.kid}).encode()).decode()
    assert gate.refusal(f"Bearer {none.rstrip('=')}.{payload}.")[0] == 401
    assert gate.refusal(f"Bearer {head}.{payload}.")[0] == 401


def test_a_secret_key_in_the_public_set_is_never_used(gate: Gate) -> None:
    secret = OctKey.import_key("0" * 64, {"kid": "secret"})
    known = json.loads(gate.keys.public.read_text())
    known["keys"].append(secret.as_dict(private=True))
    gate.keys.public.write_text(json.dumps(known))
    token = gate.token(secret, header={"alg": "HS256", "kid": "secret"})
    assert gate.refusal(f"Bearer {token}")[0] == 401
    assert gate.authenticator.user(f"Bearer {gate.token()}").name == "ada"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic YTpi", "token", "Bearer  "])
def test_without_a_token_the_challenge_names_no_error(gate: Gate, authorization: str | None) -> None:
    status, challenge = gate.refusal(authorization)
    assert status == 401
    assert challenge.startswith('Bearer realm="holdfast"')
    assert ("invalid_token" in challenge) == bool(authorization)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{1,30}\.[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}"))
def test_whatever_is_sent_is_refused_and_never_a_bug(token: str) -> None:
    with keys() as made:
        assert Gate(made).refusal(f"Bearer {token}")[0] == 401


HEADERS: list[object] = ["alg", 5, None, [], {}, {"alg": 5}, {"alg": "EdDSA"}, ["EdDSA"], True]
ODD: list[object] = [5, "x", [], [5], {}, None, True]


@pytest.mark.parametrize("name", ["crit", "alg", "typ", "kid", "b64", "enc", "jwk", "x5c"])
@pytest.mark.parametrize("value", ODD, ids=str)
def test_a_header_of_odd_types_is_refused_and_never_a_bug(gate: Gate, name: str, value: object) -> None:
    header = {"alg": "EdDSA", "kid": gate.key.kid, name: value}
    for each in (header, *HEADERS):
        _, claims, signature = gate.token().split(".")
        first = base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=")
        token = f"{first}.{claims}.{signature}"
        assert gate.refusal(f"Bearer {token}")[0] == 401


def test_a_token_that_is_too_long_is_not_even_looked_at(gate: Gate) -> None:
    assert gate.refusal(f"Bearer {gate.token(padding='x' * 5000)}")[0] == 401


def test_another_scope_is_403(gate: Gate) -> None:
    status, challenge = gate.refusal(f"Bearer {gate.token()}", OPERATOR_ACTS)
    assert status == 403
    assert 'error="insufficient_scope", scope="ops:act"' in challenge


def test_a_remembered_token_costs_no_verification_until_it_expires(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = f"Bearer {gate.token()}"
    gate.authenticator.user(authorization)
    monkeypatch.setattr(jwt, "decode", None)
    for _ in range(3):
        assert gate.authenticator.user(authorization).name == "ada"
    monkeypatch.undo()
    gate.clock.now = NOW + 60 + 31
    assert gate.refusal(authorization)[0] == 401


def test_what_is_remembered_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_MAX", 3)
    for n in range(10):
        gate.authenticator.user(f"Bearer {gate.token(sub=f'user-{n}')}")
    assert len(gate.authenticator._remembered) == 3


def test_a_changed_key_file_is_read_again_within_seconds_and_old_tokens_end(gate: Gate) -> None:
    authorization = f"Bearer {gate.token()}"
    gate.authenticator.user(authorization)
    with keys() as others:
        new = Gate(others)
        os.replace(others.public, gate.keys.public)  # noqa: PTH105 - one step, as an operator would
        gate.clock.now += auth.LOOK_EVERY_S - 1
        assert gate.authenticator.user(authorization).name == "ada"
        gate.clock.now += 1
        assert gate.refusal(authorization)[0] == 401
        assert gate.authenticator.user(f"Bearer {new.token()}").name == "ada"


def test_a_broken_key_file_leaves_the_keys_as_they_are(gate: Gate) -> None:
    authorization = f"Bearer {gate.token()}"
    gate.authenticator.user(authorization)
    for broken in ("", "{", '{"keys": 7}', '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k"}]}'):
        gate.keys.public.write_text(broken)
        gate.clock.now += auth.LOOK_EVERY_S
        assert gate.authenticator.user(authorization).name == "ada"


def test_without_any_key_it_is_our_trouble_and_heals(gate: Gate, tmp_path: Path) -> None:
    text = gate.keys.public.read_text()
    gate.keys.public.unlink()
    token = gate.token()
    assert gate.refusal(f"Bearer {token}")[0] == 503
    gate.keys.public.write_text(text)
    gate.clock.now += auth.LOOK_EVERY_S
    assert gate.authenticator.user(f"Bearer {token}").name == "ada"
