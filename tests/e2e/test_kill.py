"""Every process is killed once with SIGKILL, in mid-load; the books balance and every checkout ends."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.e2e.conftest import running
from tests.e2e.load import UNDER_WAY_MIN, Load, all_ends_well, restarts, under_way
from tests.eventually import eventually

from holdfast.contracts.topics import CART, GATEWAY
from holdfast.local.platform import Platform
from holdfast.local.process_table import NAMES
from holdfast.runtime.principals import role_of


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_loses_nothing(platform: Platform, name: str) -> None:
    load = Load(platform)
    try:
        eventually(lambda: under_way(platform) >= UNDER_WAY_MIN, "enough sagas are under way", 60)
        before = restarts(platform, name)
        platform.kill(name)
        eventually(lambda: restarts(platform, name) > before, f"{name} is started again", 30)
        platform.wait_ready(60)
    finally:
        load.stop()
    all_ends_well(platform, load.accepted)


TAKEN_AWAY = [
    (GATEWAY, "revoke insert on checkout from gateway_bff", "grant insert on checkout to gateway_bff"),
    (CART, "revoke update on cart from cart_crud", "grant update on cart to cart_crud"),
    (
        CART,
        "alter database cart_crud set default_transaction_read_only = on",
        "alter database cart_crud reset default_transaction_read_only",
    ),
]


@pytest.mark.parametrize(("name", "take", "give"), TAKEN_AWAY)
def test_an_idle_service_is_not_ready_while_its_database_takes_no_writes(
    platform: Platform, name: str, take: str, give: str
) -> None:
    def ready() -> bool:
        return next(each.ready for each in platform.processes() if each.name == name)

    platform.wait_ready(60)
    role = role_of(name)
    with psycopg.connect(platform.postgres.dsn(role), autocommit=True) as superuser:
        try:
            superuser.execute(take.encode())
            superuser.execute(  # a session knows a database's setting from its beginning
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s and datname = %s",
                [role, role],
            )
            eventually(lambda: not ready(), f"{name} says that its writes fail", 60)
        finally:
            superuser.execute("set default_transaction_read_only = off")
            superuser.execute(give.encode())
    eventually(ready, f"{name} is ready again", 60)
