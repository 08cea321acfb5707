"""What services ask each other on a running platform: only who may ask is answered; no traces are left."""

import json
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from tests.callers import gateway_token
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast.contracts.internal_calls import CANCEL, MAY_CALL, SAGAS, SNAPSHOTS
from holdfast.contracts.topics import CART, GATEWAY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """No bus has a part in this: the embedded one will do."""
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        Shopper(platform.info).end_of(Shopper(platform.info).buy({"pen": 1}))
        yield platform


def bodies(saga_id: str) -> dict[str, Any]:
    """A body for each internal endpoint that would be answered 200."""
    return {
        SNAPSHOTS: {"carts": [{"cart_id": "c-1", "user_id": "ada"}]},
        SAGAS: {"sagas": [{"saga_id": saga_id, "user_id": "ada"}]},
        CANCEL: {"saga_id": saga_id, "user_id": "ada"},
    }


def call(platform: Platform, service: str, path: str, token: str, saga_id: str = "") -> httpx2.Response:
    return httpx2.post(
        platform.info.services[service].url + path,
        json=bodies(saga_id or str(uuid4()))[path],
        headers={"Authorization": f"Bearer {token}"} if token else {},
        trust_env=False,
        timeout=30,
    )


def _answers(status: int, platform: Platform, service: str, path: str, token: str) -> bool:
    return call(platform, service, path, token).status_code == status


def sagas(platform: Platform) -> int:
    with psycopg.connect(platform.info.services[ORCHESTRATOR].dsn or "") as session:
        row = session.execute("select count(*) from saga").fetchone()
    assert row is not None
    return int(row[0])


def test_internal_endpoints_answer_401_to_everybody_who_is_no_service(platform: Platform) -> None:
    keys, before = Keys(platform.info.folder.keys), sagas(platform)
    tokens = ["", "nonsense", keys.token("ada"), keys.token("olga", operator=True)]
    for service, path in MAY_CALL:
        other = next(callee for callee, _ in MAY_CALL if callee != service)
        for token in (*tokens, gateway_token(keys, other)):
            answer = call(platform, service, path, token)
            assert answer.status_code == 401, (path, token[:20], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert sagas(platform) == before


def test_a_service_that_has_no_row_in_the_table_is_answered_403(platform: Platform) -> None:
    """Its key stands in the public set, so that it is known; `ensure` made none, because it calls nobody."""
    keys, before = Keys(platform.info.folder.keys), sagas(platform)
    key = _new_key_of(ORDER, keys.services_public)
    for service, path in MAY_CALL:
        token = _signed(key, ORDER, service)
        eventually(partial(_answers, 403, platform, service, path, token), "its key is known")
        assert call(platform, service, path, _signed(key, GATEWAY, service)).status_code == 401
    assert sagas(platform) == before


def test_a_service_token_is_no_users_token(platform: Platform) -> None:
    keys = Keys(platform.info.folder.keys)
    for service, method, path in (
        (GATEWAY, "GET", "/v1/products"),
        (ORCHESTRATOR, "GET", "/v1/sagas"),
        (ORCHESTRATOR, "POST", f"/v1/sagas/{uuid4()}/cancel"),
    ):
        at = platform.info.services[service]
        answer = httpx2.request(
            method,
            (at.url if service == GATEWAY else at.ops_url) + path,
            json={"reason": "as a service"},
            headers={"Authorization": f"Bearer {gateway_token(keys, service)}"},
            trust_env=False,
        )
        assert answer.status_code == 401, (path, answer.text)


def test_cancelling_what_nobody_started_leaves_no_saga_behind(platform: Platform) -> None:
    """By a shopper at the gateway, by a shopper and by an operator at the orchestrator itself."""
    keys, before = Keys(platform.info.folder.keys), sagas(platform)
    shopper, olga = Shopper(platform.info), keys.token("olga", operator=True)
    orchestrator = platform.info.services[ORCHESTRATOR].url
    for _ in range(5):
        saga_id = str(uuid4())
        assert shopper.client.post(f"/v1/checkouts/{saga_id}/cancel").status_code == 404
        assert call(platform, ORCHESTRATOR, CANCEL, keys.token("ada"), saga_id).status_code == 401
        for verb in ("cancel", "resume"):
            answer = httpx2.post(
                f"{orchestrator}/v1/sagas/{saga_id}/{verb}",
                json={"reason": "a wrong id"},
                headers={"Authorization": f"Bearer {olga}"},
                trust_env=False,
            )
            assert answer.status_code == 404
    assert sagas(platform) == before


def test_an_operator_who_acts_on_what_nobody_has_makes_nothing(platform: Platform) -> None:
    olga, nobodys = Keys(platform.info.folder.keys).token("olga", operator=True), str(uuid4())
    before = _rows(platform)
    for service, path, body in (
        (ORCHESTRATOR, f"/v1/sagas/{nobodys}/cancel", {"reason": "a wrong id"}),
        (ORCHESTRATOR, f"/v1/sagas/{nobodys}/resume", {"reason": "a wrong id"}),
        (PAYMENT, f"/v1/payments/{nobodys}/resolve", {"outcome": "charged", "reason": "a wrong id"}),
        (CART, f"/v1/carts/{nobodys}/hold", {"reason": "a wrong id"}),
        (CART, f"/v1/carts/{nobodys}/release", {"reason": "a wrong id"}),
    ):
        answer = httpx2.post(
            platform.info.services[service].url + path,
            json=body,
            headers={"Authorization": f"Bearer {olga}"},
            trust_env=False,
        )
        assert answer.status_code == 404, (path, answer.text)
    assert _rows(platform) == before


TABLES = {
    ORCHESTRATOR: ("saga", "saga_event", "timers", "operator_actions"),
    PAYMENT: ("fence", "payment", "timers", "operator_actions"),
    CART: ("cart", "fence", "operator_actions"),
}


def _rows(platform: Platform) -> dict[tuple[str, str], int]:
    counts = {}
    for service, tables in TABLES.items():
        with psycopg.connect(platform.info.services[service].dsn or "") as session:
            for table in tables:
                [counts[service, table]] = session.execute(f"select count(*) from {table}").fetchone() or [-1]
    return counts


def _new_key_of(service: str, public: Path) -> OKPKey:
    key = OKPKey.generate_key("Ed25519", None, private=True, auto_kid=True)
    document = json.loads(public.read_text())
    document["keys"].append({**key.as_dict(private=False), "service": service})
    public.write_text(json.dumps(document))
    return key


def _signed(key: OKPKey, caller: str, callee: str) -> str:
    now = int(time())
    claims = {"iss": "holdfast-services", "aud": callee, "sub": caller, "nbf": now, "exp": now + 60}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode({"alg": "Ed25519", "kid": key.kid}, claims, key, algorithms=["Ed25519"])
