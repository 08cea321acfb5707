"""Which service may call which internal endpoint of which other: one table, for both ends.

How a call proves who makes it is the runtime's; what it asks for stands in `http_api`.
"""

from holdfast.contracts.topics import CART, GATEWAY, ORCHESTRATOR

SNAPSHOTS = "/internal/v1/snapshots"
SAGAS = "/internal/v1/sagas"
CANCEL = "/internal/v1/sagas/cancel"

ISSUER = "holdfast-services"
"""Of service tokens. Users' tokens have another, so that neither kind passes for the other."""

TOKEN_LIFE_S = 60

MAY_CALL: dict[tuple[str, str], frozenset[str]] = {
    (CART, SNAPSHOTS): frozenset({GATEWAY}),
    (ORCHESTRATOR, SAGAS): frozenset({GATEWAY}),
    (ORCHESTRATOR, CANCEL): frozenset({GATEWAY}),
}
"""(Called service, path) to the services that may call it; nobody may call what does not stand here."""

CALLERS = tuple(sorted(frozenset[str]().union(*MAY_CALL.values())))
"""The services that have a key to sign their calls with."""
