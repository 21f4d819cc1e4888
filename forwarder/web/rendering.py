"""The rendering of templates. Every value is escaped, unless it is markup of this package."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from typing import Any

import jinja2
from aiohttp import web

from forwarder import __version__
from forwarder.web import formatting
from forwarder.web.hints import page_hint
from forwarder.web.sessions import Session

SESSION = web.RequestKey("session", Session)
"""The session of a request. It is set on every request that has a valid session."""

_CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A static file. `version` is a part of its URL, so that the URL changes with the content."""

    body: bytes
    content_type: str

    @property
    def version(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:12]


class TemplateRenderer:
    """A renderer of the templates, with the static files. The files are read once."""

    def __init__(self) -> None:
        files = (each for each in (resources.files("forwarder.web") / "static").iterdir() if "." in each.name)
        self.static: Mapping[str, StaticFile] = {
            file.name: StaticFile(file.read_bytes(), _CONTENT_TYPES[file.name[file.name.rindex(".") :]])
            for file in files
        }
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("forwarder.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"version": __version__, "static": self._static_url}
        self._templates.filters |= {**formatting.FILTERS, "page_hint": page_hint}

    def render(self, template: str, **values: Any) -> str:
        """Render a template that does not depend on the session."""
        return self._templates.get_template(template).render(values)

    def render_for(self, request: web.Request, template: str, **values: Any) -> str:
        """Render a template that also uses the session of the request."""
        return self.render(template, session=request.get(SESSION), **values)

    def _static_url(self, name: str) -> str:
        return f"/static/{self.static[name].version}/{name}"


@functools.cache
def template_renderer() -> TemplateRenderer:
    """Return the one renderer of this process. It keeps the compiled templates, and nothing of an app or a session."""
    return TemplateRenderer()


RENDERER = web.AppKey("renderer", TemplateRenderer)


def render_page(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    text = request.app[RENDERER].render_for(request, template, **values)
    return web.Response(text=text, status=status, content_type="text/html")


def redirect_to(location: str) -> web.Response:
    """Redirect after a change, so that a reload does not repeat it."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})


async def static(request: web.Request) -> web.Response:
    """Return a static file, which a browser may cache for a year. Raise HTTPNotFound if the version is another."""
    file = request.app[RENDERER].static.get(request.match_info["name"])
    if file is None or file.version != request.match_info["version"]:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)


ROUTES = [web.get("/static/{version}/{name}", static, name="static")]
