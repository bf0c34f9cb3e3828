"""Counts and times of requests, for Prometheus."""

import time
from collections.abc import Awaitable, Callable

from inceptive.errors import requires

with requires("serve needs FastAPI", "serve"):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from starlette.requests import Request
    from starlette.responses import Response


class Metrics:
    """Metrics of one application, in their own registry; `waiting` returns the images in the queue."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "inceptive_requests", "Requests", ("path", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "inceptive_request_seconds", "Seconds to the answer", ("path",), registry=self.registry
        )
        queue = Gauge("inceptive_waiting", "Images in the queue", registry=self.registry)
        queue.set_function(waiting)

    async def count(
        self, request: Request, call: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Middleware: count and time the response to a request under the path of its route."""
        started = time.perf_counter()
        status = 500
        try:
            response = await call(request)
            status = response.status_code
            return response
        finally:
            path = getattr(request.scope.get("route"), "path", "other")
            self.requests.labels(path, status).inc()
            self.seconds.labels(path).observe(time.perf_counter() - started)

    def exposition(self) -> Response:
        """All metrics in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")
