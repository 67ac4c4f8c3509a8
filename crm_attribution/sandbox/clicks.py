"""The link-click API: `GET /clickapi/clicks?since=ISO&after=CURSOR&limit=1000`, in the order clicks were received."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import to_ms
from crm_attribution.sandbox.world import World

TOKEN = "clk-sandbox-3b1f0a"  # noqa: S105 - the sandbox's own
MOST = 1000


def _error(status: int, message: str) -> ApiError:
    return ApiError(status, {"error": message})


class ClickApi:
    """A generic provider of link clicks."""

    prefix = "/clickapi"

    def __init__(self, world: World) -> None:
        self._world = world

    def env(self, base_url: str) -> dict[str, str]:
        return {"CLICKS_BASE_URL": base_url + self.prefix, "CLICKS_TOKEN": TOKEN}

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/clickapi/clicks", self._clicks)]

    def admit(self, request: Request) -> Response | None:
        return None if bearer(request) == TOKEN else Answer({"error": "unauthorized"}, 401)

    def refusal(self, status: int, fault: Fault) -> Response:
        return Answer({"error": f"{fault.kind} on request"}, status, retry_headers(fault))

    async def _clicks(self, request: Request) -> Response:
        """`since` is compared with received_at, inclusively; the cursor names the last click that was given."""
        asked = request.query_params
        try:
            start = to_ms(asked["since"]) if asked.get("since") else -(2**62)
            limit = int(asked.get("limit", MOST))
            at, _, number = asked.get("after", "").partition("-")
            key = max((start, 0), (int(at), int(number) + 1)) if at else (start, 0)
        except ValueError:
            raise _error(400, "since is an ISO 8601 timestamp, limit a number, after a cursor of this API") from None
        if not 0 < limit <= MOST:
            raise _error(400, f"limit must be between 1 and {MOST}")
        rows = self._world.portal.activity.clicks
        first = bisect_left(rows, key)
        page = rows[first : first + limit]
        more = first + limit < len(rows)
        cursor = f"{page[-1].at}-{page[-1].number}" if more else None
        return Answer({"clicks": [row.row for row in page], "next": cursor})
