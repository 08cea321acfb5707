"""Service tokens: which service calls is proven by its own key, for one callee, for a minute."""

import base64
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeyParameters, OctKey, OKPKey
from tests.callers import keys

from holdfast.contracts.internal_calls import MAY_CALL, SAGAS, SNAPSHOTS
from holdfast.contracts.topics import CART, GATEWAY, ORCHESTRATOR, ORDER
from holdfast.local.keys import Keys
from holdfast.runtime import auth
from holdfast.runtime.auth import SHOPPER, Authenticator, ServiceAuthenticator
from holdfast.runtime.problems import Problem
from holdfast.runtime.service_tokens import RENEW_AFTER_S, ServiceTokens

NOW = 1_800_000_000.0


class World:
    """The gateway's tokens and cart-crud's check of them, at a time that the test sets."""

    def __init__(self, made: Keys) -> None:
        self.now = NOW
        self.keys = made
        self.tokens = ServiceTokens(made.of_service(GATEWAY), GATEWAY, self.clock, self.clock)
        self.cart = ServiceAuthenticator(made.services_public, CART, self.clock, self.clock)
        self.key = OKPKey.import_key(json.loads(made.of_service(GATEWAY).read_text()))

    def clock(self) -> float:
        return self.now

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A header with a token that is valid but for what is said; a claim that is None is left out."""
        sound = {"iss": "holdfast-services", "aud": CART, "sub": GATEWAY, "nbf": NOW, "exp": NOW + 60}
        payload = {name: value for name, value in (sound | claims).items() if value is not None}
        head = {"alg": "Ed25519", "typ": "JWT", "kid": self.key.kid} | (header or {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f"Bearer {jwt.encode(head, payload, key or self.key, algorithms=[head['alg']])}"

    def status(self, authorization: str | None, path: str = SNAPSHOTS) -> int:
        """The status with which a call with this header is answered."""
        try:
            caller = self.cart.require(authorization, path)
        except Problem as problem:
            return problem.kind.status
        assert caller == GATEWAY
        return 200

    def add_key_of(self, service: str) -> OKPKey:
        """Put a second key of this service into the public set."""
        key = OKPKey.generate_key("Ed25519", None, private=True, auto_kid=True)
        document = json.loads(self.keys.services_public.read_text())
        document["keys"].append({**key.as_dict(private=False), "service": service})
        self.keys.services_public.write_text(json.dumps(document))
        self.now += auth.LOOK_EVERY_S
        return key


@pytest.fixture
def world() -> Iterator[World]:
    with keys() as made:
        yield World(made)


def test_the_gateways_own_token_is_let_in_where_the_table_says_so_and_nowhere_else(world: World) -> None:
    assert world.status(world.tokens.authorization(CART)) == 200
    assert world.status(world.tokens.authorization(CART), SAGAS) == 403
    assert world.status(world.tokens.authorization(CART), "/internal/v1/elsewhere") == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "holdfast"},
        {"iss": None},
        {"aud": ORCHESTRATOR},
        {"aud": "holdfast"},
        {"aud": [CART, ORCHESTRATOR]},
        {"aud": None},
        {"sub": ORDER},
        {"sub": CART},
        {"sub": "ada"},
        {"sub": None},
        {"exp": NOW - 31},
        {"exp": None},
        {"exp": NOW + 91},
        {"exp": NOW + 8 * 3600},
        {"nbf": NOW + 31},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(world: World, claims: dict[str, Any]) -> None:
    assert world.status(world.token(**claims)) == 401


@pytest.mark.parametrize("claims", [{}, {"aud": [CART]}, {"exp": NOW - 29}, {"nbf": NOW + 29}])
def test_clocks_may_differ_by_half_a_minute(world: World, claims: dict[str, Any]) -> None:
    assert world.status(world.token(**claims)) == 200


def test_only_a_known_key_signs_and_only_by_its_own_algorithm(world: World) -> None:
    parameters: KeyParameters = {"kid": str(world.key.kid)}
    stranger = OKPKey.generate_key("Ed25519", parameters, private=True)
    assert world.status(world.token(stranger)) == 401
    assert world.status(world.token(header={"kid": "other"})) == 401
    [public] = json.loads(world.keys.services_public.read_text())["keys"]
    confused = OctKey.import_key(public["x"], parameters)
    assert world.status(world.token(confused, header={"alg": "HS256"})) == 401
    head, payload, _ = world.token().removeprefix("Bearer ").split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": world.key.kid}).encode()).decode()
    assert world.status(f"Bearer {none.rstrip('=')}.{payload}.") == 401
    assert world.status(f"Bearer {head}.{payload}.") == 401


def test_users_tokens_are_no_service_tokens_and_the_other_way_round(world: World) -> None:
    for operator in (False, True):
        assert world.status(f"Bearer {world.keys.token('ada', operator=operator)}") == 401
        assert world.status(f"Bearer {world.keys.token(GATEWAY, operator=operator)}") == 401
    users = Authenticator(world.keys.public, world.clock, world.clock)
    for authorization in (world.tokens.authorization(CART), world.token(iss="holdfast", aud="holdfast")):
        with pytest.raises(Problem) as caught:
            users.require(authorization, SHOPPER)
        assert caught.value.kind.status == 401


def test_a_service_key_among_the_users_keys_makes_nobody_a_user_and_the_other_way_round(
    world: World,
) -> None:
    """Also where an operator has mixed up the files: each kind of token needs its own kind of key."""
    key = world.add_key_of(GATEWAY)
    users = Authenticator(world.keys.services_public, world.clock, world.clock)
    claims = {"iss": "holdfast", "aud": "holdfast", "scope": SHOPPER}
    with pytest.raises(Problem) as caught:
        users.user(world.token(key, {"alg": "EdDSA", "kid": key.kid}, **claims))
    assert caught.value.kind.status == 401
    users_set = {"keys": [key.as_dict(private=False)]}
    world.keys.public.write_text(json.dumps(users_set))
    mixed = ServiceAuthenticator(world.keys.public, CART, world.clock, world.clock)
    with pytest.raises(Problem) as caught:
        mixed.require(world.token(key, {"kid": key.kid}), SNAPSHOTS)
    assert caught.value.kind.status == 401


def test_a_key_proves_its_own_service_only_and_a_service_without_a_row_may_call_nothing(
    world: World,
) -> None:
    key = world.add_key_of(ORDER)
    header = {"kid": key.kid}
    assert world.status(world.token(key, header, sub=GATEWAY)) == 401
    for path in (SNAPSHOTS, SAGAS):
        assert world.status(world.token(key, header, sub=ORDER), path) == 403


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic YTpi", "Bearer  "])
def test_without_a_token_it_is_401(world: World, authorization: str | None) -> None:
    assert world.status(authorization) == 401


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{1,30}\.[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}"))
def test_whatever_is_sent_is_refused_and_never_a_bug(token: str) -> None:
    with keys() as made:
        assert World(made).status(f"Bearer {token}") == 401


def test_a_token_is_signed_at_most_every_half_minute_a_callee_and_is_never_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[str] = []
    encode = jwt.encode

    def counted(header: Any, claims: Any, *more: Any, **others: Any) -> str:
        signed.append(claims["aud"])
        return encode(header, claims, *more, **others)

    monkeypatch.setattr(jwt, "encode", counted)
    for _ in range(120):
        for callee in (CART, ORCHESTRATOR):
            authorization = world.tokens.authorization(callee)
            if callee == CART:
                assert world.status(authorization) == 200
        world.now += 1
    rounds = int(120 / RENEW_AFTER_S)
    assert (signed.count(CART), signed.count(ORCHESTRATOR)) == (rounds, rounds)


def test_a_remembered_token_costs_no_verification_and_a_key_taken_out_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = world.tokens.authorization(CART)
    assert world.status(authorization) == 200
    with monkeypatch.context() as patch:
        patch.setattr(jwt, "decode", None)
        assert [world.status(authorization) for _ in range(3)] == [200] * 3
    world.add_key_of(ORDER)
    left = [
        key for key in json.loads(world.keys.services_public.read_text())["keys"] if key["service"] == ORDER
    ]
    world.keys.services_public.write_text(json.dumps({"keys": left}))
    world.now += auth.LOOK_EVERY_S
    assert world.status(authorization) == 401


def test_a_rotation_refuses_no_call(world: World) -> None:
    """Publish the new key beside the old one, sign with it, take the old one out: the guide's order."""
    assert world.status(world.tokens.authorization(CART)) == 200
    new = world.add_key_of(GATEWAY)
    assert world.status(world.tokens.authorization(CART)) == 200
    world.keys.of_service(GATEWAY).write_text(json.dumps(new.as_dict(private=True)))
    world.now += RENEW_AFTER_S
    authorization = world.tokens.authorization(CART)
    header = json.loads(base64.urlsafe_b64decode(authorization.split()[1].split(".")[0] + "=="))
    assert (header["kid"], world.status(authorization)) == (new.kid, 200)
    document = json.loads(world.keys.services_public.read_text())
    document["keys"] = [key for key in document["keys"] if key["kid"] == new.kid]
    world.keys.services_public.write_text(json.dumps(document))
    world.now += auth.LOOK_EVERY_S
    assert world.status(authorization) == 200


def test_a_key_file_that_is_broken_meanwhile_leaves_the_old_key(world: World) -> None:
    for broken in ("", "{", "[]", '{"kty": "OKP"}'):
        world.keys.of_service(GATEWAY).write_text(broken)
        world.now += RENEW_AFTER_S
        assert world.status(world.tokens.authorization(CART)) == 200


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"kty": "oct", "k": "c2VjcmV0"}', '{"kty": 7}'])
def test_a_service_does_not_start_on_a_key_that_is_none_and_shows_nothing_of_it(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^the file that it names holds no private") as caught:
        ServiceTokens(path, GATEWAY)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_public_key_signs_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(world.key.as_dict(private=False)))
    with pytest.raises(ValueError, match="holds no private"):
        ServiceTokens(path, GATEWAY)


def test_every_caller_of_the_table_is_a_service_other_than_the_one_that_it_calls() -> None:
    for (callee, path), callers in MAY_CALL.items():
        assert callers
        assert callee not in callers
        assert path.startswith("/internal/")
