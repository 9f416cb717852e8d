"""A small HTTP service over finished runs: recommendations, similar items, search, feedback.

Several runs may stand side by side; which one answers a user follows from a hash of the user and is said in
the answer. Requests are typed and bounded, an error is one sentence under "detail".
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.errors import PaddockError
from experiments.serving.feedback import Feedback, FeedbackStore
from experiments.serving.recommender import Recommender
from experiments.serving.requests import LONGEST_TEXT, MOST_ITEMS, Answer, Request

MOST_BYTES = 65_536
"""Of a request's body."""

MOST_WANTED = 1000
"""Items of an answer."""

MOST_RECORDS = 1000
"""Records of feedback in a request."""

PATIENCE = 30.0
"""Seconds that a request waits for its answer."""

Token = Annotated[str, Field(max_length=500)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Wanted = Annotated[int, Query(ge=1, le=MOST_WANTED)]
Items = Annotated[tuple[Token, ...], Field(max_length=MOST_ITEMS)]


class RecommendRequest(BaseModel):
    """The body of /recommend; see `experiments.serving.requests.Request`."""

    model_config = ConfigDict(extra="forbid")

    user: Token | None = None
    history: Items = ()
    dislikes: Items = ()
    profile: Annotated[dict[Token, Token], Field(max_length=100)] = {}
    query: Text | None = None
    where: Text | None = None
    exclude: Items = ()
    k: Annotated[int, Field(ge=1, le=MOST_WANTED)] = 10


class FeedbackRecord(BaseModel):
    """A record of /feedback; see `experiments.serving.feedback.Feedback`. Without a time it is now."""

    model_config = ConfigDict(extra="forbid")

    key: Token
    item: Token
    kind: Literal["click", "rating", "dismiss", "like", "dislike"]
    user: Token | None = None
    session: Token | None = None
    value: float | None = None
    time: float | None = None
    origin: Token | None = None


class _Side:
    """A recommender and the one thread that asks it: scoring changes a model for a while.

    A thread of its own also keeps its memory warm: of a pool's forty each would have its own.
    """

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def answer(self, ask: Callable[..., Answer], *given: Any) -> Answer:
        """What the recommender says, after those that asked before.

        Raises
        ------
        HTTPException
            If it takes too long; what has not begun by then is not done.
        """
        asked = asyncio.get_running_loop().run_in_executor(self._thread, ask, *given)
        try:
            return await asyncio.wait_for(asked, PATIENCE)
        except TimeoutError:
            raise HTTPException(503, f"no answer within {PATIENCE:.0f} s: ask again") from None


class _BoundedAndTimed:
    """Refuses large bodies before they are read, and counts the seconds of the other requests.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    seconds : Histogram
    """

    def __init__(self, app: ASGIApp, seconds: Histogram) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = _refused({name.decode().lower(): value for name, value in scope["headers"]})
        if refused is not None:
            await refused(scope, receive, send)
            return
        start, status = time.perf_counter(), "500"

        async def sent(message: Message) -> None:
            nonlocal status
            status = str(message.get("status", status))
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._seconds.labels(path, status).observe(time.perf_counter() - start)


def _refused(headers: Mapping[str, bytes]) -> JSONResponse | None:
    """The answer to a request whose body is not read."""
    length = headers.get("content-length", b"0").decode("latin-1")
    if not length.isdigit() or int(length) > MOST_BYTES:
        return error_of(413, f"the body has {length} bytes; at most {MOST_BYTES} are read")
    if b"chunked" in headers.get("transfer-encoding", b""):
        return error_of(411, "the body's length is needed: Content-Length")
    return None


class Service:
    """What the routes do.

    Parameters
    ----------
    recommenders, feedback, token
        As of `create_app`.
    """

    def __init__(
        self,
        recommenders: Mapping[str, Recommender],
        *,
        feedback: FeedbackStore | None,
        token: str | None,
    ) -> None:
        self._sides = {name: _Side(each) for name, each in recommenders.items()}
        self._store = feedback
        self._token = token
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "paddock_request_seconds",
            "Seconds of a request.",
            ["path", "status"],
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
        )
        self._answers = Counter(
            "paddock_answers", "Answers by run and rule.", ["side", "rule"], registry=self._registry
        )

    def allowed(self, authorization: Annotated[str | None, Header()] = None) -> None:
        """Refuse a request without the token."""
        wanted = f"Bearer {self._token}"
        if self._token is not None and not hmac.compare_digest(
            (authorization or "").encode(), wanted.encode()
        ):
            raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN")

    async def recommend(self, request: RecommendRequest, side: str | None = None) -> Response:
        """Items for a user, a history, a profile or words."""
        name, this = self._chosen(request.user, side)
        asked = Request(**request.model_dump())
        return self._sent(name, await this.answer(this.recommender.recommend, asked))

    async def similar(self, item: Token, k: Wanted = 10, side: str | None = None) -> Response:
        """Items near one, which is named by id or title."""
        name, this = self._chosen(None, side)
        return self._sent(name, await this.answer(this.recommender.similar, item, k))

    async def search(self, q: Text, k: Wanted = 10, side: str | None = None) -> Response:
        """Items whose texts fit a query, by words and by meaning."""
        name, this = self._chosen(None, side)
        return self._sent(name, await this.answer(this.recommender.search, q, k))

    def feedback(
        self, records: Annotated[list[FeedbackRecord], Field(min_length=1, max_length=MOST_RECORDS)]
    ) -> dict[str, int]:
        """Keep answers of users, each key once, however often it is sent."""
        if self._store is None:
            raise HTTPException(
                404, "this service keeps no feedback: start it with serve.feedback=URL"
            )
        now = time.time()
        kept = [
            Feedback(**{**each.model_dump(), "time": now if each.time is None else each.time})
            for each in records
        ]
        return {"stored": self._store.add(kept), "sent": len(kept)}

    def health(self) -> dict[str, Any]:
        """Whether the service answers, and by which runs."""
        origins = {name: asdict(each.recommender.origin) for name, each in self._sides.items()}
        return {"status": "ok", "sides": origins}

    def metrics(self) -> PlainTextResponse:
        """Requests, seconds and answers, as Prometheus reads them."""
        return PlainTextResponse(generate_latest(self._registry).decode())

    def _chosen(self, user: str | None, side: str | None) -> tuple[str, _Side]:
        if side is not None and side not in self._sides:
            raise HTTPException(404, f"side={side} is none of {', '.join(self._sides)}")
        name = side if side is not None else side_of(user, sorted(self._sides))
        return name, self._sides[name]

    def _sent(self, name: str, answer: Answer) -> Response:
        self._answers.labels(name, answer.rule).inc()
        # As FastAPI would write it, which goes over every value by itself.
        content = orjson.dumps({**vars(answer), "side": name})
        return Response(content, media_type="application/json")


def create_app(
    recommenders: Mapping[str, Recommender],
    *,
    feedback: FeedbackStore | None = None,
    token: str | None = None,
) -> FastAPI:
    """The service.

    Parameters
    ----------
    recommenders : mapping of str to Recommender
        By the names that answers give under "side"; at least one.
    feedback : FeedbackStore, optional
        Where feedback goes; without one /feedback answers 404.
    token : str, optional
        What requests must bring as `Authorization: Bearer TOKEN`; None: nothing.
    """
    service = Service(recommenders, feedback=feedback, token=token)
    app = FastAPI(
        title="Paddock",
        description="Recommendations of tracked runs. Every answer names its run, data and code.",
        redoc_url=None,
    )
    app.add_middleware(_BoundedAndTimed, seconds=service.seconds)
    app.add_exception_handler(PaddockError, lambda _, error: error_of(422, str(error)))
    guarded = [Depends(service.allowed)]
    app.post("/recommend", dependencies=guarded)(service.recommend)
    app.get("/similar", dependencies=guarded)(service.similar)
    app.get("/search", dependencies=guarded)(service.search)
    app.post("/feedback", dependencies=guarded)(service.feedback)
    app.get("/metrics", dependencies=guarded, response_class=PlainTextResponse)(service.metrics)
    app.get("/healthz")(service.health)
    return app


def side_of(user: str | None, sides: Sequence[str]) -> str:
    """Which of several sides answers a user: always the same one, each as many users as another.

    Parameters
    ----------
    user : str or None
    sides : sequence of str
    """
    digest = hashlib.sha256((user or "").encode()).digest()
    return sides[int.from_bytes(digest[:8], "big") % len(sides)]


def error_of(status: int, sentence: str) -> JSONResponse:
    """An error as FastAPI writes its own.

    Parameters
    ----------
    status : int
        Of HTTP.
    sentence : str
    """
    return JSONResponse({"detail": sentence}, status_code=status)
