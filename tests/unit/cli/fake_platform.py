"""A data folder whose platform is the fake gateway, served from a thread of its own."""

import asyncio
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet
from tests.unit.local.fake_gateway import OPERATOR, FakeGateway

from holdfast.local.info import BusInfo, PlatformInfo, PostgresInfo, ServiceInfo
from holdfast.local.keys import Keys


class FakeData:
    """A data folder whose platform is the fake."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = Keys(root / "keys")
        self.keys.signing.parent.mkdir()
        self.keys.ensure()
        self.fake = FakeGateway(user_of=lru_cache(maxsize=None)(self.user_of))
        self.url = ""

    def user_of(self, token: str) -> str:
        public = KeySet.import_key_set(json.loads(self.keys.public.read_text()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            claims = jwt.decode(token, public, algorithms=["EdDSA"]).claims
        return OPERATOR if "ops:act" in claims["scope"] else str(claims["sub"])

    def find(self, data_dir: Path) -> PlatformInfo:
        assert data_dir == self.root
        return self.info

    @property
    def info(self) -> PlatformInfo:
        """What platform.json would say."""
        service = ServiceInfo(port=0, url=self.url, ops_port=0, ops_url=self.url, dsn=None, pid=0, restarts=0)
        return PlatformInfo(
            pid=0,
            started_at="",
            data=str(self.root),
            bus=BusInfo("postgres"),
            wakeup_folder="",
            postgres=PostgresInfo(0, 0, 0),
            services=dict.fromkeys(("gateway-bff", "cart-crud", "inventory-write"), service),
        )


@contextmanager
def serving(fake: FakeGateway) -> Iterator[str]:
    """Serve from a thread, since the command runs an event loop of its own."""
    addresses: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with fake.serving() as url:
            addresses.append(url)
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield addresses[0]
    finally:
        done.set()
        thread.join(10)
