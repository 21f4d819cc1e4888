"""The steps of the logs API: its executions, and faults of its responses and connections."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Final
from urllib.parse import quote

from tests.fakes import alloy as faults
from tests.fakes.actions import Action, Hang, HttpResponse, Raw, ResetAfter
from tests.fakes.alloy import MIB, Fault, Rule
from tests.fakes.wire import Request
from tests.faults.simulation_environment import SimulationEnvironment
from tests.faults.workload import USERS, WORKFLOWS

LOGS: Final = "/logs"
BOMB: Final = 8 * MIB

REFUSALS: Final[tuple[Callable[[], HttpResponse], ...]] = (
    faults.unauthorized,
    faults.forbidden,
    faults.not_json,
    faults.data_null,
    faults.other_shape,
)


def fail(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.fail(draw, draw.choice([1, 1, 1, 2, 3, 12]))


def succeed(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.succeed(draw, draw.randint(1, 4))


def start(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.start(draw)


def start_unlisted(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.start(draw, listed=False, ago=timedelta(hours=draw.uniform(0, 20)))


def finish(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.finish(draw)


def fail_a_day_late(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.fail_a_day_late(draw)


def fail_twice(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.fail_twice(draw)


def add_invalid_record(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    environment.workload.add_invalid_record(draw)


def fault(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Make the next few requests of pages fail, each with its own fault."""
    drawn = [_some_fault(environment, draw) for _ in range(draw.choice([1, 1, 2, 3, 8]))]
    environment.alloy.next(*drawn, path_contains=LOGS)


def disturb_listing(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Make the listing shift, repeat itself or end short for a number of requests."""
    workflow = draw.choice([name for name in WORKFLOWS if name not in USERS])
    newer = environment.workload.newer(Random(draw.random()))  # noqa: S311 - a seed is the point
    chosen = draw.choice(
        [
            faults.shifting(environment.alloy.api, workflow, newer),
            faults.repeating(environment.alloy),
            faults.short(environment.alloy, draw.randint(3, 9)),
        ]
    )
    environment.alloy.always(_for_a_while(chosen, draw.randint(10, 60)))


def hide_workflow(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Make one workflow unknown for a number of requests."""
    path = f"/{quote(draw.choice(WORKFLOWS), safe='')}{LOGS}"
    not_found = HttpResponse(404, {}, b'{"message":"Not Found"}')
    environment.alloy.always(
        _for_a_while(lambda request: not_found if request.path.endswith(path) else None, draw.randint(5, 30))
    )


def refuse_key(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Refuse the key for a number of requests."""
    environment.alloy.always(
        _for_a_while(
            lambda request: faults.unauthorized() if request.path.endswith(LOGS) else None, draw.randint(5, 30)
        )
    )


def _some_fault(environment: SimulationEnvironment, draw: Random) -> Fault:
    return draw.choice(PAGE_FAULTS)(draw, environment.sim.now())


def _wait(draw: Random, now: datetime) -> Fault:
    soon = faults.http_date(now + timedelta(seconds=20))
    refusal = faults.too_many_requests(draw.choice([None, "2", "30", soon, "soon", "-5", "1e9", ""]))
    return replace(refusal, headers={**refusal.headers, "Date": faults.http_date(now)})


PAGE_FAULTS: Final[tuple[Callable[[Random, datetime], Fault], ...]] = (
    *(_wait, _wait),
    *[lambda draw, _: faults.unavailable(draw.choice([500, 502, 503, 504]), draw.choice([None, "5", "0.5"]))] * 2,
    lambda draw, _: draw.choice(REFUSALS)(),
    lambda *_: faults.gzip_bomb(BOMB),
    lambda draw, _: draw.choice([faults.bad_gzip, faults.cut_gzip]),
    lambda draw, _: faults.slow(draw.choice([20_000, 200_000])),
    lambda draw, _: faults.delayed(draw.choice([0.1, 1.5])),
    lambda draw, _: faults.cut(draw.randrange(0, 4000), reset=draw.random() < 0.5),
    lambda draw, _: faults.wrong_length(draw.choice([-10, -1, 1, 10])),
    lambda draw, _: _of_a_page(faults.skewed(timedelta(hours=draw.uniform(-6, 6)))),
    lambda *_: faults.undated,
    lambda draw, _: _of_a_page(faults.out_of_order(draw.randrange(1000))),
    lambda draw, _: draw.choice([ResetAfter(), Hang(0), Hang(1.5), Raw(b"SSH-2.0-OpenSSH_9.6\r\n")]),
)


def _of_a_page(damage: Callable[[HttpResponse], Action]) -> Callable[[HttpResponse], Action]:
    """Limit damage to responses that are whole pages."""
    return lambda answer: damage(answer) if answer.status == 200 and _is_json(answer.body) else answer


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except json.JSONDecodeError:
        return False
    return True


def _for_a_while(disturb_listing: Rule, requests: int) -> Rule:
    left = iter(range(requests))

    def limited(request: Request) -> Fault | None:
        return disturb_listing(request) if next(left, None) is not None else None

    return limited


ACTIONS: Final[dict[str, Callable[[SimulationEnvironment, Random, str], None]]] = {
    "pause": lambda *_: None,
    "fail": fail,
    "succeed": succeed,
    "start": start,
    "start unlisted": start_unlisted,
    "finish": finish,
    "fail a day late": fail_a_day_late,
    "fail twice": fail_twice,
    "spoil a record": add_invalid_record,
    "source fault": fault,
    "source rule": disturb_listing,
    "source vanishes": hide_workflow,
    "source refuses": refuse_key,
}
