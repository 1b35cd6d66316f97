"""An HTTP proxy that spoils what passes between a store and a real S3 server, on 127.0.0.1, in a thread of its own.

Which request is spoiled, and how, is decided by `Proxy.fault`: a function from a call to the name of a fault. The
faults are the methods of `Proxy` whose names begin with ``do_``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

T = TypeVar("T")

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length", "upgrade"}
SLOW_PIECES, SLOW_SECONDS = 8, 0.1  # an answer in so many pieces, so long apart


@dataclass(frozen=True)
class Call:
    """A request. ``count``: the how manieth for this method and key (from 0)."""

    method: str
    key: str  # with the bucket, without the query
    query: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    count: int = 0

    @property
    def kind(self) -> str:
        """PUT, COPY, GET, HEAD, DELETE or LIST."""
        if self.method == "PUT" and "x-amz-copy-source" in {name.lower() for name in self.headers}:
            return "COPY"
        return "LIST" if self.method == "GET" and "list-type" in self.query else self.method


class Proxy:
    """Runs from construction to `close`.

    Args:
        env: AWS variables of the server behind it.

    Attributes:
        fault: decides; an empty string lets the call pass.
        creation: "honest", "ignored" (the server knows no If-None-Match) or "refused" (501 NotImplemented).
        injected: how often each fault was.
        calls: kinds of all calls that came in.
        held: calls that `do_hold` has swallowed, for `release`.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._upstream, self._keys = env["AWS_ENDPOINT_URL"], env
        self.fault: Callable[[Call], str] = lambda call: ""
        self.creation = "honest"
        self.injected: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.held: list[Call] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._written: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)  # s3fs's own, of stores collected in this thread
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port = self._await(self._start())

    @property
    def env(self) -> dict[str, str]:
        """The AWS variables that lead here."""
        return {**self._keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def calm(self) -> None:
        """No faults from now on; counters begin anew."""
        self.fault = lambda call: ""
        for counter in (self.injected, self.calls, self._counts, self._written):
            counter.clear()
        self.held.clear()

    def release(self) -> list[int]:
        """Let the held calls reach the server now, in order; the statuses it answers."""
        held, self.held = self.held, []
        return [self._await(self._forward(call))[0] for call in held]

    def close(self) -> None:
        """End it."""
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> int:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**30, handler_args={"auto_decompress": False})
        app.router.add_route("*", "/{key:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _end(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionResetError:  # the client has given up
            return self._dropped(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        path, _, query = request.raw_path.partition("?")
        call = Call(request.method, path.lstrip("/"), query, headers, body)
        call = replace(call, count=self._counts[call.kind, call.key])
        self._counts[call.kind, call.key] += 1
        self.calls[call.kind] += 1
        fault = self.fault(call)
        if fault:
            answer = await getattr(self, f"do_{fault}")(request, call)
            if answer is not None:
                self.injected[fault] += 1
                return answer
        return self._answer(*await self._forward(call))

    async def _forward(self, call: Call, data: Any = None) -> tuple[int, dict[str, str], bytes]:
        conditional = {name for name in call.headers if name.lower() == "if-none-match"}
        if conditional and self.creation == "refused":
            return 501, {"Content-Type": "application/xml"}, _error("NotImplemented")
        if conditional and self.creation == "ignored":
            call = self._signed({n: v for n, v in call.headers.items() if n not in conditional}, call)
        url = URL(f"{self._upstream}/{call.key}{'?' + call.query if call.query else ''}", encoded=True)
        # The length is said before the body, so that a body cut short cannot pass for a whole one.
        headers = {**call.headers, "Content-Length": str(len(call.body))}
        async with self._client.request(
            call.method,
            url,
            headers=headers,
            data=call.body if data is None else data,
            skip_auto_headers=("User-Agent",),
        ) as answer:
            found = await answer.read()
            if call.kind in ("PUT", "COPY") and answer.status == 200:
                self._written[call.key] += 1
            return answer.status, dict(answer.headers), found

    def _signed(self, headers: dict[str, str], call: Call) -> Call:
        """The call with other headers, signed anew."""
        stale = {"authorization", "x-amz-date", "x-amz-content-sha256", "host"}
        kept = {name: value for name, value in headers.items() if name.lower() not in stale}
        query = f"?{call.query}" if call.query else ""
        request = AWSRequest(call.method, f"{self._upstream}/{call.key}{query}", headers=kept, data=call.body)
        keys = Credentials(self._keys["AWS_ACCESS_KEY_ID"], self._keys["AWS_SECRET_ACCESS_KEY"])
        S3SigV4Auth(keys, "s3", self._keys["AWS_REGION"]).add_auth(request)
        return replace(call, headers=dict(request.headers.items()))

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> web.Response:
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        if "Content-Length" in headers and not body:  # of a HEAD
            kept["Content-Length"] = headers["Content-Length"]
        return web.Response(status=status, headers=kept, body=body)

    # The faults. Each answers, or drops the line, or returns None where it does not fit the call.

    async def do_slowdown(self, request: web.Request, call: Call) -> web.StreamResponse:
        """503 SlowDown."""
        return self._said(503, "SlowDown", call)

    async def do_expired(self, request: web.Request, call: Call) -> web.StreamResponse:
        """400 ExpiredToken, as for keys whose time is over."""
        return self._said(400, "ExpiredToken", call)

    async def do_absent(self, request: web.Request, call: Call) -> web.StreamResponse | None:
        """404 for an object, to be read or copied, that was written just before."""
        copied = {name.lower(): value for name, value in call.headers.items()}.get("x-amz-copy-source", "")
        key = copied if call.kind == "COPY" else call.key if call.kind in ("GET", "HEAD") else ""
        return self._said(404, "NoSuchKey", call) if self._written[key.lstrip("/")] else None

    async def do_silent(self, request: web.Request, call: Call) -> web.StreamResponse:
        """No answer at all, and nothing is done."""
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.05)
        return web.Response(status=500)

    async def do_cut_request(self, request: web.Request, call: Call) -> web.StreamResponse | None:
        """Half of the body reaches the server, then both lines break."""
        if len(call.body) < 2:
            return None

        async def half() -> Any:
            yield call.body[: len(call.body) // 2]
            raise ConnectionResetError("cut by order")

        with contextlib.suppress(aiohttp.ClientError, ConnectionResetError):
            await self._forward(call, half())
        return self._dropped(request)

    async def do_spoilt(self, request: web.Request, call: Call) -> web.StreamResponse | None:
        """A byte of the body changes on its way to the server."""
        if not call.body:
            return None
        middle = len(call.body) // 2
        body = call.body[:middle] + bytes([call.body[middle] ^ 1]) + call.body[middle + 1 :]
        return self._answer(*await self._forward(self._signed(call.headers, replace(call, body=body)), body))

    async def do_cut_answer(self, request: web.Request, call: Call) -> web.StreamResponse | None:
        """The server has done it; half of its answer arrives."""
        status, headers, body = await self._forward(call)
        if len(body) < 2:
            return self._dropped(request)
        answer = web.StreamResponse(status=status, headers=self._answer(status, headers, b"").headers)
        answer.content_length = len(body)
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])
        self._dropped(request)
        return answer

    async def do_lost(self, request: web.Request, call: Call) -> web.StreamResponse:
        """The server has done it; its answer never arrives."""
        await self._forward(call)
        return self._dropped(request)

    async def do_slow(self, request: web.Request, call: Call) -> web.StreamResponse:
        """The answer comes in small pieces."""
        status, headers, body = await self._forward(call)
        answer = web.StreamResponse(status=status, headers=self._answer(status, headers, b"").headers)
        answer.content_length = len(body)
        await answer.prepare(request)
        step = max(1, -(-len(body) // SLOW_PIECES))
        for start in range(0, len(body), step):
            await asyncio.sleep(SLOW_SECONDS)
            await answer.write(body[start : start + step])
        await answer.write_eof()
        return answer

    async def do_hold(self, request: web.Request, call: Call) -> web.StreamResponse:
        """The line breaks; the server gets the call when `release` says so."""
        self.held.append(call)
        return self._dropped(request)

    def _said(self, status: int, code: str, call: Call) -> web.Response:
        body = b"" if call.method == "HEAD" else _error(code)
        return web.Response(status=status, body=body, content_type="application/xml")

    @staticmethod
    def _dropped(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # nobody reads it


def _error(code: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'.encode()
