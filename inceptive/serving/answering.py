"""From a request to its answer: pictures are decoded by threads, each model's engine runs in a thread
of its own (`batching`), and nothing of a request is stored."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import numpy as np

from inceptive.errors import InceptiveError
from inceptive.serving.batching import Batcher, Closed, Full
from inceptive.serving.inside import Inside
from inceptive.serving.limits import Limits
from inceptive.serving.served import Served

try:
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
except ImportError:
    raise InceptiveError("serve needs FastAPI: pip install 'inceptive[serve]'") from None

BUSY = "too many images wait; try again"


class Refused(HTTPException):
    """A request that cannot be answered, with a reason for a person."""


class Answering:
    """Several models that answer, from `start` to `stop`; the first one where none is named.

    What asks a question raises Refused if it cannot be answered, or not in time.
    """

    def __init__(self, models: Sequence[Served], limits: Limits):
        self.models, self.limits = {one.name: one for one in models}, limits
        self._batchers: dict[str, Batcher] = {}

    def start(self) -> None:
        for name, one in self.models.items():
            self._batchers[name] = Batcher(one.engine, waiting=self.limits.waiting)

    async def stop(self) -> None:
        for batcher in self._batchers.values():
            await run_in_threadpool(batcher.close)

    def waiting(self) -> int:
        """Images in the queues."""
        return sum(map(len, self._batchers.values()))

    def named(self, model: str) -> Served:
        if model and model not in self.models:
            raise Refused(422, f"no model {model} is served; there are: {', '.join(self.models)}")
        return self.models[model] if model else next(iter(self.models.values()))

    async def predict(self, request: Request, model: str, top: int) -> list[dict[str, Any]]:
        """An answer for each image of the request: see `Served.answer`."""
        served = self.named(model)
        pictures = await self._within(_pictures(request, self.limits.images))
        answers: list[dict[str, Any]] = await self._within(self._answered(served, pictures, top))
        if all(one["error"] for one in answers):
            raise Refused(422, "; ".join(one["error"] for one in answers))
        return answers

    async def heat(self, request: Request, model: str, label: str) -> tuple[bytes, str]:
        """PNG of what speaks for a class, the answer unless one is named; and that class."""
        inside = _inside(served := self.named(model))
        square = await self._square(served, request)
        if label:
            chosen = _label(served, label)
        else:
            [future] = self._submitted(served, [square])
            chosen = int((await self._within(asyncio.wrap_future(future))).argmax())
        png = await self._within(run_in_threadpool(inside.heat, square, chosen))
        return png, served.engine.labels[chosen]

    async def maps(self, request: Request, model: str, layer: str) -> bytes:
        """PNG of what a layer sees, the last one unless one is named."""
        inside = _inside(served := self.named(model))
        if layer and layer not in inside.layers:
            known = ", ".join(inside.layers)
            raise Refused(422, f"{served.name} has no maps {layer}; there are: {known}")
        square = await self._square(served, request)
        work = run_in_threadpool(inside.features, square, layer or inside.layers[-1])
        return cast(bytes, await self._within(work))

    async def _square(self, served: Served, request: Request) -> np.ndarray:
        """What the net sees of the one image of a request."""
        pictures = await self._within(_pictures(request, self.limits.images))
        if len(pictures) != 1:
            raise Refused(422, f"this takes one image, not {len(pictures)}")
        square = await self._within(run_in_threadpool(served.decoded, *pictures[0]))
        if isinstance(square, str):
            raise Refused(422, square)
        return cast(np.ndarray, square)

    async def _answered(
        self, served: Served, pictures: list[tuple[str, bytes]], top: int
    ) -> list[dict[str, Any]]:
        if len(batcher := self._batchers[served.name]) >= batcher.limit:  # else decoded for nothing
            raise Refused(429, BUSY, {"Retry-After": "1"})
        decoded = await asyncio.gather(
            *(run_in_threadpool(served.decoded, *one) for one in pictures)
        )
        waiting = self._submitted(served, [one for one in decoded if not isinstance(one, str)])
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

    def _submitted(self, served: Served, squares: list[np.ndarray]) -> list[Any]:
        try:
            return self._batchers[served.name].submit(squares)
        except Full:
            raise Refused(429, BUSY, {"Retry-After": "1"}) from None
        except Closed:
            raise Refused(503, "the server stops") from None

    async def _within(self, work: Awaitable[Any]) -> Any:
        """What `work` gives, if it does not take too long."""
        try:
            return await asyncio.wait_for(work, self.limits.seconds)
        except TimeoutError:
            seconds = self.limits.seconds
            raise Refused(503, f"no answer within {seconds:g} s; try again") from None


async def _pictures(request: Request, limit: int) -> list[tuple[str, bytes]]:
    """(name, content) of each image of a request. Raises Refused for none or more than `limit`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        try:
            content = await request.body()
        except ClientDisconnect:
            raise Refused(400, "the request ended before its body did") from None
        found = [("image", content)] if content else []
    else:
        try:
            form = await request.form(max_files=limit, max_fields=limit)
        except HTTPException as error:
            raise Refused(422, str(error.detail)) from None
        uploads = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        found = [(one.filename or "image", await one.read()) for one in uploads]
        await form.close()
    if not found:
        raise Refused(422, "no image: send one as the body, or several as multipart/form-data")
    return found


def _inside(served: Served) -> Inside:
    if served.inside is None:
        raise Refused(501, f"nothing can look into {served.name} here: see `explains` of /v1/model")
    return served.inside


def _label(served: Served, asked: str) -> int:
    try:
        return served.label(asked)
    except InceptiveError as error:
        raise Refused(422, str(error)) from None
