"""The endpoints for machines: liveness, the end of the start, readiness and metrics."""

import os
from http import HTTPStatus

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.model import READY_STATES, State
from forwarder.time_format import rfc3339
from forwarder.web.context import CONTEXT, WebContext

COMPONENTS = ("source", "ledger", "bus")


async def livez(request: web.Request) -> web.Response:
    """Return 200 while no loop is stalled, else 503 with the stalled loops."""
    stalled = request.app[CONTEXT].heartbeats.stalled()
    return _json_response({"live": not stalled, "stalled": sorted(stalled)}, is_ok=not stalled)


async def startupz(request: web.Request) -> web.Response:
    """Return 503 until source, ledger and bus have started, then the status of `livez`.

    A component has started when it was ready once. A source also counts as started if it reports no error for two
    minutes, because its first discovery or poll may be long. The body has the state of each other component. An update
    of a container service waits for this, so that a broken version replaces nothing. A later outage must not end
    processes that wait for its end.
    """
    context = request.app[CONTEXT]
    stalled = context.heartbeats.stalled()
    waiting = {name: context.state_of(name) for name in COMPONENTS if not context.health.has_started(name)}
    response = {"started": not waiting, "live": not stalled, "stalled": sorted(stalled), "components": waiting}
    return _json_response(response, is_ok=not waiting and not stalled)


async def readyz(request: web.Request) -> web.Response:
    """Return 200 if source, ledger and bus are ready and the daemon is not stopping, else 503.

    The body has the state of each component, the process id and the time of the last poll.
    """
    context = request.app[CONTEXT]
    states = {component: context.state_of(component) for component in COMPONENTS}
    draining = context.stopping.is_set()
    ready = not draining and all(state in READY_STATES for state in states.values())
    last_poll = max((poll.at for poll in context.polls().values()), default=None)
    response = {
        "ready": ready,
        "draining": draining,
        "pid": os.getpid(),
        "components": states,
        "last_poll_at": last_poll and rfc3339(last_poll),
    }
    return _json_response(response, is_ok=ready)


async def metrics(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    await _update_gauges(context)
    return web.Response(
        body=context.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def _update_gauges(context: WebContext) -> None:
    """Set the gauges whose values are read on request.

    The age is that of the events that this process has to send: an alarm on it concerns no process that is idle.
    """
    valid = context.state_of("settings") not in (State.FAILED, State.UNCONFIGURED)
    enabled = context.settings().enabled
    try:
        counters = await context.ledger.counters()
        recorded_at = await context.ledger.oldest_own_pending() if counters.pending else None
        fleet = await context.ledger.members()
    except LedgerError:
        context.metrics.set_settings(enabled=enabled, valid=valid)
        return  # the last values stay, and the component has the reason
    age = 0.0 if recorded_at is None else (context.clock.now() - recorded_at).total_seconds()
    context.metrics.set_pending(counters.pending, age)
    context.metrics.set_fleet(len(fleet.members))
    context.metrics.set_settings(enabled=enabled and fleet.enabled, valid=valid)
    if own := next((member for member in fleet.members if member.id == fleet.own_id), None):
        context.metrics.count_ledger_units(read=own.read_units, write=own.write_units)


def _json_response(body: dict[str, object], *, is_ok: bool) -> web.Response:
    return web.json_response(body, status=HTTPStatus.OK if is_ok else HTTPStatus.SERVICE_UNAVAILABLE)


ROUTES = [
    web.get("/livez", livez, name="livez"),
    web.get("/startupz", startupz, name="startupz"),
    web.get("/readyz", readyz, name="readyz"),
    web.get("/metrics", metrics, name="metrics"),
]
