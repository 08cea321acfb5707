"""Sends an operator's request to a service: finds its address, signs a token of one minute, reads the answer.

Problems become one line and an exit code; what a command asks for, and how it is shown, is the command's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.cli.common import ExitCode, fail, operator_name

TIMEOUT_S = 30.0
_EXIT_OF_STATUS = {
    400: ExitCode.USAGE,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    422: ExitCode.USAGE,
    429: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
}


class Operator:
    """An operator at the platform of a data folder; ends the command if there is none."""

    def __init__(self, data: Path) -> None:
        from holdfast.local.info import find
        from holdfast.local.layout import NotRunning

        try:
            self._info = find(data)
        except NotRunning as error:
            fail(ExitCode.NOT_FOUND, str(error))

    def get(
        self,
        service: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        missing_ok: bool = False,
    ) -> Any:
        """Return the JSON that `service` answers; ends the command if it refuses or does not answer.

        With `missing_ok`, return None for a 404.
        """
        return self._call("GET", service, path, missing_ok, params=dict(params or {}))

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        """Have `service` act; returns its JSON, None if its answer is empty."""
        return self._call("POST", service, path, json=dict(body))

    def _call(self, method: str, service: str, path: str, missing_ok: bool = False, **values: Any) -> Any:
        import httpx2

        from holdfast.local.keys import Keys

        token = Keys(self._info.folder.keys).token(operator_name(), operator=True, ttl_s=60)
        url = f"{self._info.services[service].ops_url}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        try:
            response = httpx2.request(
                method, url, headers=headers, timeout=TIMEOUT_S, trust_env=False, **values
            )
        except httpx2.HTTPError as error:
            fail(ExitCode.UNAVAILABLE, f"{service} does not answer: {type(error).__name__}")
        if response.is_success:
            return response.json() if response.content else None
        if missing_ok and response.status_code == 404:
            return None
        code = _EXIT_OF_STATUS.get(response.status_code, ExitCode.FAILED)
        try:
            problem = response.json()
        except ValueError:  # not the service's own answer, but its server's, such as "too many connections"
            fail(code, f"{service} answers {response.status_code} {response.reason_phrase}")
        errors = "; ".join(f"{e['pointer']}: {e['detail']}" for e in problem.get("errors", []))
        line = errors or str(problem.get("detail") or problem.get("title"))
        return fail(code, f"{service}: {line}")
