"""How the parts do."""

from aiohttp import web

from forwarder.web.desk import DESK
from forwarder.web.pages import page


async def show(request: web.Request) -> web.Response:
    return page(request, "overview.html", parts=request.app[DESK].health.parts)


ROUTES = [web.get("/", show, name="overview")]
