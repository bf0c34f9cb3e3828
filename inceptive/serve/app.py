"""The HTTP interface: predictions, looks inside, the models, health, metrics, and the page.

Pictures are decoded by threads, the engine runs in a thread of its own (`batching`), and nothing of a
request is stored.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any, cast
from urllib.parse import quote

import numpy as np

import inceptive
from inceptive.errors import InceptiveError
from inceptive.serve.batching import Batcher, Closed, Full
from inceptive.serve.inside import Inside
from inceptive.serve.limits import Guard, Limits
from inceptive.serve.served import Served

try:
    from fastapi import FastAPI, Query, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
except ImportError:
    raise InceptiveError("serve needs FastAPI: pip install 'inceptive[serve]'") from None

CSP = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
Named = Annotated[
    str, Query(description="which of the models, by name; the first if none is named")
]


class Refused(HTTPException):
    """A request that cannot be answered, with a reason for a person."""


def make_app(models: Sequence[Served], limits: Limits) -> Any:
    """The ASGI application; the first model answers who names none. Batches begin and end with it."""
    meters = _Meters()
    by_name = {one.name: one for one in models}
    batchers: dict[str, Batcher] = {}

    def named(model: str) -> Served:
        if model and model not in by_name:
            raise Refused(422, f"no model {model} is served; there are: {', '.join(by_name)}")
        return by_name[model] if model else models[0]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for name, one in by_name.items():
            batchers[name] = Batcher(one.engine, waiting=limits.waiting)
        meters.waiting.set_function(lambda: sum(map(len, batchers.values())))
        yield
        for batcher in batchers.values():
            await run_in_threadpool(batcher.close)

    app = FastAPI(
        title=f"inceptive: {', '.join(by_name)}",
        version=inceptive.__version__,
        lifespan=lifespan,
        docs_url=None,  # its pages would fetch scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, limits=limits)

    @app.middleware("http")
    async def counted(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            response = await call(request)
            status = response.status_code
            return response
        finally:
            path = getattr(request.scope.get("route"), "path", "other")
            meters.requests.labels(path, status).inc()
            meters.seconds.labels(path).observe(time.perf_counter() - started)

    @app.exception_handler(HTTPException)
    async def told(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    @app.exception_handler(InceptiveError)
    async def failed(_: Request, error: InceptiveError) -> Response:
        return JSONResponse({"error": str(error)}, 500)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether it answers."""
        return {"status": "ok"}

    @app.get("/v1/model")
    async def model(model: Named = "") -> dict[str, Any]:
        """The model: classes, preprocessing, engine, what it was trained on, its layers."""
        return named(model).about()

    @app.get("/v1/models")
    async def every() -> list[dict[str, Any]]:
        """Every model that is served, as /v1/model tells it."""
        return [one.about() for one in models]

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(generate_latest(meters.registry), media_type="text/plain; version=0.0.4")

    @app.post("/v1/predict")
    async def predict(
        request: Request,
        top: int = Query(5, ge=1, description="classes, the most probable first"),
        model: Named = "",
    ) -> dict[str, Any]:
        """Classes of one image (the body) or of several (multipart/form-data, any field names).

        `sure`: whether the first class is probable enough, see `sure_from` of the model. An image
        that cannot be read has its reason in `error`; if none can, the status is 422.
        """
        served = named(model)
        pictures = await _within(limits, _pictures(request, limits))
        answers = await _within(limits, _answered(served, batchers[served.name], pictures, top))
        if all(one["error"] for one in answers):
            raise Refused(422, "; ".join(one["error"] for one in answers))
        return {"model": served.name, "predictions": answers}

    @app.post("/v1/explain", response_class=Response)
    async def explain(
        request: Request,
        label: str = Query("", description="class, by name or number; the answer if none is named"),
        model: Named = "",
    ) -> Response:
        """One image with what speaks for a class over it (Grad-CAM), as PNG; x-label names the class,
        percent-encoded."""
        inside = _inside(served := named(model))
        square = await _square(served, request, limits)
        if label:
            chosen = _label(served, label)
        else:
            [future] = _submitted(batchers[served.name], [square])
            chosen = int((await _within(limits, asyncio.wrap_future(future))).argmax())
        png = await _within(limits, run_in_threadpool(inside.heat, square, chosen))
        told = quote(served.engine.labels[chosen])
        return Response(png, media_type="image/png", headers={"x-label": told})

    @app.post("/v1/features", response_class=Response)
    async def features(
        request: Request,
        layer: str = Query(
            "", description="one of the model's `layers`; the last if none is named"
        ),
        model: Named = "",
    ) -> Response:
        """The maps of a layer that one image excites most, as PNG."""
        inside = _inside(served := named(model))
        if layer and layer not in inside.layers:
            known = ", ".join(inside.layers)
            raise Refused(422, f"{served.name} has no maps {layer}; there are: {known}")
        square = await _square(served, request, limits)
        work = run_in_threadpool(inside.features, square, layer or inside.layers[-1])
        return Response(await _within(limits, work), media_type="image/png")

    @app.get("/", response_class=HTMLResponse)
    async def page() -> Response:
        return _html("page.html")

    @app.get("/docs", response_class=HTMLResponse)
    async def docs() -> Response:
        """This interface for a person to read; /openapi.json for programs."""
        return _html("docs.html")

    return app


class _Meters:
    """Counts and times; a registry of their own for each application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "inceptive_requests", "Requests", ("path", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "inceptive_request_seconds", "Seconds to the answer", ("path",), registry=self.registry
        )
        self.waiting = Gauge("inceptive_waiting", "Images in the queue", registry=self.registry)


def _html(name: str) -> Response:
    text = files("inceptive.serve").joinpath(name).read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"content-security-policy": CSP})


async def _pictures(request: Request, limits: Limits) -> list[tuple[str, bytes]]:
    """(name, content) of each image of a request. Raises Refused for none or too many."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        try:
            content = await request.body()
        except ClientDisconnect:
            raise Refused(400, "the request ended before its body did") from None
        found = [("image", content)] if content else []
    else:
        try:
            form = await request.form(max_files=limits.images, max_fields=limits.images)
        except HTTPException as error:
            raise Refused(422, str(error.detail)) from None
        uploads = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        found = [(one.filename or "image", await one.read()) for one in uploads]
        await form.close()
    if not found:
        raise Refused(422, "no image: send one as the body, or several as multipart/form-data")
    return found


async def _square(served: Served, request: Request, limits: Limits) -> np.ndarray:
    """What the net sees of the one image of a request. Raises Refused if there is not just one."""
    pictures = await _within(limits, _pictures(request, limits))
    if len(pictures) != 1:
        raise Refused(422, f"this takes one image, not {len(pictures)}")
    square = await _within(limits, run_in_threadpool(served.decoded, *pictures[0]))
    if isinstance(square, str):
        raise Refused(422, square)
    return cast(np.ndarray, square)


def _submitted(batcher: Batcher, squares: list[np.ndarray]) -> list[Any]:
    try:
        return batcher.submit(squares)
    except Full:
        raise Refused(429, "too many images wait; try again", {"Retry-After": "1"}) from None
    except Closed:
        raise Refused(503, "the server stops") from None


async def _answered(
    served: Served, batcher: Batcher, pictures: list[tuple[str, bytes]], top: int
) -> list[dict[str, Any]]:
    if len(batcher) >= batcher.limit:  # before anything is decoded for nothing
        raise Refused(429, "too many images wait; try again", {"Retry-After": "1"})
    decoded = await asyncio.gather(*(run_in_threadpool(served.decoded, *one) for one in pictures))
    waiting = _submitted(batcher, [one for one in decoded if not isinstance(one, str)])
    try:
        found = iter([await asyncio.wrap_future(one) for one in waiting])
    finally:
        for one in waiting:
            one.cancel()  # of what is too late, nothing more is worked on
    answers: list[dict[str, Any]] = []
    for (name, _), one in zip(pictures, decoded, strict=True):
        if isinstance(one, str):
            answers.append({"image": name, "top": [], "sure": False, "error": one})
        else:
            answers.append(served.answer(name, next(found), top))
    return answers


async def _within(limits: Limits, work: Awaitable[Any]) -> Any:
    """What `work` gives. Raises Refused if it takes too long."""
    try:
        return await asyncio.wait_for(work, limits.seconds)
    except TimeoutError:
        raise Refused(503, f"no answer within {limits.seconds:g} s; try again") from None


def _inside(served: Served) -> Inside:
    if served.inside is None:
        raise Refused(501, f"nothing can look into {served.name} here: see `explains` of /v1/model")
    return served.inside


def _label(served: Served, asked: str) -> int:
    try:
        return served.label(asked)
    except InceptiveError as error:
        raise Refused(422, str(error)) from None
