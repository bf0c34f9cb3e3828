"""The HTTP interface: predictions, explanations, models, health, metrics, and the page."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import quote

import inceptive
from inceptive.errors import InceptiveError, printable, requires
from inceptive.serving.inference import InferenceService, Refused
from inceptive.serving.limits import Guard, Limits
from inceptive.serving.metrics import Metrics
from inceptive.serving.model import ServedModel

with requires("serve needs FastAPI", "serve"):
    from fastapi import APIRouter, Depends, FastAPI, Query, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from starlette.exceptions import HTTPException

CSP = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
ModelName = Annotated[
    str, Query(description="which of the models, by name; the first if none is named")
]

REASON = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


def refuse_unknown(request: Request) -> None:
    """Raise Refused for a query parameter unknown to the route."""
    names = [each.alias for each in request.scope["route"].dependant.query_params]
    if unknown := [name for name in request.query_params if name not in names]:
        there = f"there are: {', '.join(names)}" if names else "there are none"
        raise Refused(422, f"unknown query parameter {printable(unknown[0])}; {there}")


def head_as_get(app: Any) -> Any:
    """ASGI middleware: HEAD is answered like GET; the server omits the body."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        method = {"method": "GET"} if scope.get("method") == "HEAD" else {}
        await app(scope | method, receive, send)

    return call


def make_app(models: Sequence[ServedModel], limits: Limits) -> Any:
    """Make the ASGI application; the first model is the default. Batching starts and stops with it."""
    service = InferenceService(models, limits)
    metrics = Metrics(service.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title=f"inceptive: {', '.join(service.models)}",
        version=inceptive.__version__,
        lifespan=lifespan,
        docs_url=None,  # its pages would fetch scripts from elsewhere
        redoc_url=None,
        responses={
            "default": {
                "description": "Refused, with the reason",
                "content": {"application/json": {"schema": REASON}},
            }
        },
    )
    app.add_middleware(Guard, limits=limits)
    app.middleware("http")(metrics.count)
    app.add_middleware(head_as_get)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        message = f"{first['loc'][-1]} = {first['input']}: {first['msg']}"
        return JSONResponse({"error": printable(message)}, 422)

    @app.exception_handler(InceptiveError)
    async def failed(_: Request, error: InceptiveError) -> Response:
        return JSONResponse({"error": str(error)}, 500)

    app.include_router(model_routes(service, metrics))
    app.include_router(inference_routes(service))
    app.include_router(page_routes())
    return app


def model_routes(service: InferenceService, metrics: Metrics) -> APIRouter:
    """The routes that describe the models and the server itself."""
    routes = APIRouter()

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether it answers."""
        return {"status": "ok"}

    @routes.get("/v1/model", dependencies=[Depends(refuse_unknown)])
    async def model(model: ModelName = "") -> dict[str, Any]:
        """The model: classes, preprocessing, engine, training data, layers."""
        return service.model(model).to_dict()

    @routes.get("/v1/models", dependencies=[Depends(refuse_unknown)])
    async def models() -> list[dict[str, Any]]:
        """Every served model, each as in /v1/model."""
        return [model.to_dict() for model in service.models.values()]

    @routes.get("/metrics")
    async def prometheus() -> Response:
        """Counts and times for Prometheus."""
        return metrics.exposition()

    return routes


def inference_routes(service: InferenceService) -> APIRouter:
    """The routes that take images."""
    routes = APIRouter(dependencies=[Depends(refuse_unknown)])

    @routes.post("/v1/predict")
    async def predict(
        request: Request,
        top: int = Query(5, ge=1, description="classes, the most probable first"),
        model: ModelName = "",
    ) -> dict[str, Any]:
        """Classify one image (the body) or several (multipart/form-data, any field names).

        `sure`: whether the first class is probable enough, see `sure_from` of the model. An unreadable
        image has the reason in `error`; if none can be read, the status is 422.
        """
        predictions = await service.predict(request, model, top)
        return {"model": service.model(model).name, "predictions": predictions}

    @routes.post("/v1/explain", response_class=Response)
    async def explain(
        request: Request,
        label: str = Query("", description="class, by name or number; the answer if none is named"),
        model: ModelName = "",
    ) -> Response:
        """One image overlaid with the evidence for a class (Grad-CAM), as PNG; x-label names the class,
        percent-encoded."""
        png, answer = await service.heatmap(request, model, label)
        return Response(png, media_type="image/png", headers={"x-label": quote(answer)})

    @routes.post("/v1/features", response_class=Response)
    async def features(
        request: Request,
        layer: str = Query(
            "", description="one of the model's `layers`; the last if none is named"
        ),
        model: ModelName = "",
    ) -> Response:
        """The maps of a layer that one image activates most, as PNG."""
        return Response(await service.features(request, model, layer), media_type="image/png")

    return routes


def page_routes() -> APIRouter:
    """The pages for a browser."""
    routes = APIRouter()

    @routes.get("/", response_class=HTMLResponse)
    async def page() -> Response:
        style = (
            files("inceptive.exporting").joinpath("web", "style.css").read_text(encoding="utf-8")
        )
        return _html("page.html", style)

    @routes.get("/docs", response_class=HTMLResponse)
    async def docs() -> Response:
        """This interface's documentation; /openapi.json for programs."""
        return _html("docs.html")

    return routes


def _html(name: str, style: str = "") -> Response:
    text = files("inceptive.serving").joinpath(name).read_text(encoding="utf-8")
    return HTMLResponse(
        text.replace("/* STYLE */", style), headers={"content-security-policy": CSP}
    )
