"""Responses of the logs API in the encodings of real servers and proxies are read, or named in the error."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.e2e.harness import fail, numbered, sent, watermark
from tests.fakes.actions import Action, Chunked, HttpResponse, Line, pieces
from tests.fakes.alloy import FakeAlloy, bad_gzip
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import Request
from tests.harness.installation import CommandResult, Installation

BOM = b"\xef\xbb\xbf"
JSON = {"Content-Type": "application/json"}

Form = Callable[[HttpResponse], Action]


def coded(encoding: str, pack: Callable[[bytes], bytes] = lambda body: body) -> Form:
    """Declare a content coding, and apply the given function."""
    return lambda answer: replace(
        answer, headers={**answer.headers, "Content-Encoding": encoding}, body=pack(answer.body)
    )


def changed(pack: Callable[[bytes], bytes]) -> Form:
    return lambda answer: replace(answer, body=pack(answer.body))


def members(body: bytes) -> bytes:
    return gzip.compress(body[:50]) + gzip.compress(b"") + gzip.compress(body[50:])


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@dataclass(frozen=True)
class WithTrailers(Action):
    """A chunked response with extensions, and with headers after its last chunk."""

    answer: HttpResponse

    async def perform(self, line: Line) -> bool:
        await line.send(self.answer.head("Transfer-Encoding: chunked"))
        for chunk in pieces(self.answer.body, 100):
            await line.send(b'%X;name="value"\r\n%b\r\n' % (len(chunk), chunk))
        await line.send(b"000;last\r\nX-Checksum: abc\r\nServer-Timing: db;dur=53\r\n\r\n")
        return True


READABLE: dict[str, Form] = {
    "byte-order mark": changed(lambda body: BOM + body),
    "mark in gzip": coded("gzip", lambda body: gzip.compress(BOM + body)),
    "line breaks around": changed(lambda body: b"\r\n\r\n" + body + b"\r\n"),
    "two members": coded("gzip", members),
    "many members": coded("gzip", lambda body: b"".join(gzip.compress(piece) for piece in pieces(body, 7))),
    "members in tiny chunks": lambda answer: Chunked(coded("gzip", members)(answer), 3),  # type: ignore[arg-type]  # `coded` makes an Answer
    "zeros after gzip": coded("gzip", lambda body: gzip.compress(body) + bytes(512)),
    "zeros between members": coded("gzip", lambda body: gzip.compress(body[:20]) + bytes(9) + gzip.compress(body[20:])),
    "rubbish after gzip": coded("gzip", lambda body: gzip.compress(body) + b"\nOK\n"),
    "x-gzip": coded("x-gzip", gzip.compress),
    "upper case": coded("GZIP", gzip.compress),
    "deflate": coded("deflate", zlib.compress),
    "raw deflate": coded("deflate", raw_deflate),
    "identity": coded("identity"),
    "no value": coded(""),
    "charset": coded("UTF-8"),
    "charset without dash": coded("utf8"),
    "charset and gzip": coded("gzip, UTF-8", gzip.compress),
    "identity and gzip": coded("identity, gzip", gzip.compress),
    "twice in gzip": coded("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "gzip declared twice": coded("gzip, gzip", gzip.compress),
    "gzip declared only": bad_gzip,
    "gzip undeclared": changed(gzip.compress),
    "gzip under a charset": coded("utf-8", gzip.compress),
    "br declared only": coded("br"),
    "chunked": lambda answer: Chunked(answer, 10),
    "trailers": WithTrailers,
    "as text": lambda answer: replace(answer, headers={"Content-Type": "text/plain; charset=utf-8"}),
    "as HTML": lambda answer: replace(answer, headers={"Content-Type": "text/html"}),
    "203": lambda answer: replace(answer, status=203),
}

NAMED: dict[str, tuple[Form | HttpResponse, str]] = {
    "empty": (HttpResponse(200, JSON), "200 with an empty body"),
    "blank": (HttpResponse(200, JSON, b"\r\n \r\n"), "200 with a blank body"),
    "empty gzip": (HttpResponse(200, JSON, gzip.compress(b"")), "200 with an empty body"),
    "only a mark": (HttpResponse(200, JSON, BOM), "200 with an empty body"),
    "utf-16": (changed(lambda body: body.decode().encode("utf-16")), "UTF-16"),
    "utf-16 without mark": (changed(lambda body: body.decode().encode("utf-16-le")), "UTF-16"),
    "utf-32": (changed(lambda body: body.decode().encode("utf-32")), "UTF-32"),
    "html": (HttpResponse(200, JSON, b"\n<!DOCTYPE html><title>s3cret portal</title>"), "an HTML page"),
    "html in gzip": (HttpResponse(200, {}, gzip.compress(b"<html>s3cret portal</html>")), "an HTML page"),
    "html declared gzip": (HttpResponse(200, {"Content-Encoding": "gzip"}, b"<html>s3cret</html>"), "an HTML page"),
    "xml": (HttpResponse(200, {}, b'<?xml version="1.0"?><Error>s3cret</Error>'), "an XML document"),
    "text": (HttpResponse(200, JSON, b"upstream connect error s3cret"), "plain text"),
    "guarded": (HttpResponse(200, JSON, b")]}',\n" + b'{"data": []}'), "a guard against scripts"),
    "brotli": (HttpResponse(200, {"Content-Encoding": "br"}, b"\x8b\x03\x80s3cret\x03"), "Brotli"),
    "zstandard": (HttpResponse(200, {"Content-Encoding": "zstd"}, b"\x28\xb5\x2f\xfd\x04\x58s3cret"), "Zstandard"),
    "zip": (HttpResponse(200, JSON, b"PK\x03\x04\x14s3cret"), "a ZIP archive"),
    "zeros": (HttpResponse(200, JSON, bytes(50)), "binary data"),
    "broken gzip": (HttpResponse(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08" + b"\xff" * 60), "broken gzip"),
    "half a gzip": (coded("gzip", lambda body: gzip.compress(body)[:-20]), "broke off"),
    "half a second member": (coded("gzip", lambda body: members(body)[:-20]), "broke off"),
}


def apply_faults(forms: dict[str, Form | HttpResponse]) -> Callable[[Request], Action | Form | None]:
    return lambda request: forms.get(request.path.split("/")[-2].replace("%20", " "))


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Yield the ids that one pass over a workflow for each form has sent."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("read"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("source", workflows=[*READABLE])
        for name in READABLE:
            fail(alloy, *numbered(12, f"{name} "), workflow=name)
        alloy.always(apply_faults({**READABLE}))
        done = installation.run_command("once")
        assert done.code == 0, done.err
        yield sent(bus)


@pytest.mark.parametrize("form", READABLE)
def test_response_in_this_form_is_read(read: list[str], form: str) -> None:
    assert [id_ for id_ in read if id_.rpartition(" ")[0] == form] == numbered(12, f"{form} ")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, CommandResult, list[str]]]:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("named"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("source", workflows=[*NAMED])
        for name in NAMED:
            fail(alloy, f"{name} id", workflow=name)
        alloy.always(apply_faults({name: form for name, (form, _) in NAMED.items()}))
        done = installation.run_command("once", "--timeout", "2s")
        yield installation, done, sent(bus)


@pytest.mark.parametrize("form", NAMED)
def test_response_that_is_no_page_is_named(named: tuple[Installation, CommandResult, list[str]], form: str) -> None:
    installation, done, ids = named
    lines = [str(line) for line in done.log if line.get("feed") == form]
    assert any(NAMED[form][1] in line for line in lines), lines
    assert watermark(installation, form) is None
    assert (done.code, ids) == (69, [])
    assert "s3cret" not in done.output


def test_response_204_is_an_empty_page(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    """Some frameworks send it for an empty list. The listing ends there, and later failures are found."""
    fail(alloy, *numbered(10))
    alloy.always(lambda request: HttpResponse(204) if request.query["page"] != "0" else None)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(10)
    alloy.always(lambda _: HttpResponse(204))
    assert installation.run_command("once").code == 0
    alloy.clear()
    fail(alloy, "later", ago=1)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["later", *numbered(10)]


def test_empty_rerun_response_is_not_sent_again(installation: Installation, alloy: FakeAlloy) -> None:
    """The run was started. An error would make people start another."""
    alloy.always(lambda request: HttpResponse(202) if request.method == "POST" else None)
    fail(alloy, "x")
    done = installation.run_command("rerun", "x", "--workflow", "w")
    assert done.code == 0, done.output
    assert sum(request.method == "POST" for request in alloy.requests) == 1
