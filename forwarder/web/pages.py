"""Turning templates into answers. Whatever a template shows is escaped, unless it is markup of ours."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from forwarder import __version__
from forwarder.web import words
from forwarder.web.details import error_of
from forwarder.web.sessions import Session

SESSION = web.RequestKey("session", Session)
"""Set on every request that needs a login."""

FORM_TOKEN = "form-token"  # noqa: S105  # the name of a field

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True, slots=True)
class Static:
    """A file that goes out as it is, under a name that changes with its content."""

    body: bytes
    kind: str

    @property
    def version(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:12]


class Pages:
    """The templates and the static files, read once."""

    def __init__(self) -> None:
        files = (each for each in (resources.files("forwarder.web") / "static").iterdir() if "." in each.name)
        self.static: Mapping[str, Static] = {
            file.name: Static(file.read_bytes(), _KINDS[file.name[file.name.rindex(".") :]]) for file in files
        }
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("forwarder.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"version": __version__, "static": self._address}
        self._templates.filters |= {**words.FILTERS, "error": error_of}

    def render(self, template: str, **values: Any) -> str:
        """A template that is the same for everybody."""
        return self._templates.get_template(template).render(values)

    def text(self, request: web.Request, template: str, **values: Any) -> str:
        """A template, which may call `form_token()` in each of its forms."""
        session = request.get(SESSION)
        return self._templates.get_template(template).render(
            session=session, form_token=lambda: form_token_field(session), **values
        )

    def _address(self, name: str) -> str:
        return f"/static/{self.static[name].version}/{name}"


PAGES = web.AppKey("pages", Pages)


def page(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    text = request.app[PAGES].text(request, template, **values)
    return web.Response(text=text, status=status, content_type="text/html")


def go_to(address: str) -> web.Response:
    """After a change: the browser asks for a page anew, and a reload does not change it again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": address})


def form_token_field(session: Session | None) -> Markup:
    if session is None:
        return Markup()
    return Markup('<input type="hidden" name="{}" value="{}">').format(FORM_TOKEN, session.form_token())


async def static(request: web.Request) -> web.Response:
    """By name and version, so that a browser may keep it for good."""
    file = request.app[PAGES].static.get(request.match_info["name"])
    if file is None or file.version != request.match_info["version"]:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return web.Response(body=file.body, content_type=file.kind, charset="utf-8", headers=headers)


ROUTES = [web.get("/static/{version}/{name}", static, name="static")]
