"""uvicorn's configuration of a guarded listener."""

from typing import Any

import uvicorn

from holdfast.http_server.connection_table import ConnectionTable
from holdfast.http_server.guarded_protocol import GuardedProtocol
from holdfast.http_server.limits import Limits


class GuardedConfig(uvicorn.Config):
    """The options of all our listeners: limits, a table of connections, no header that names the server."""

    def __init__(
        self, app: Any, limits: Limits, protocol: type[GuardedProtocol] = GuardedProtocol, **options: Any
    ) -> None:
        super().__init__(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=2048,
            **options,
        )
        self.limits = limits
        self.table = ConnectionTable(limits)
