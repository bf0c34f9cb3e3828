"""From a request to its answer: threads decode pictures, each model's engine runs in its own thread
(`batching`), and no request data is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np

from inceptive.engines.prediction import Decoded, class_number
from inceptive.errors import InceptiveError, reason, requires
from inceptive.io.cores import cores
from inceptive.serving.batching import Batcher, Closed, Full
from inceptive.serving.explainer import Explainer
from inceptive.serving.limits import Limits
from inceptive.serving.model import ServedModel

with requires("serve needs FastAPI", "serve"):
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.formparsers import MultiPartException, MultiPartParser
    from starlette.requests import ClientDisconnect, Request

BUSY = "too many images wait; try again"


class Refused(HTTPException):
    """A request that cannot be answered, with a human-readable reason."""


class InferenceService:
    """Serves several models, from `start` to `stop`; the first if a request names none.

    predict, heatmap and features raise Refused if there is no answer, or not in time.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits):
        self.models, self.limits = {model.name: model for model in models}, limits
        self._batchers: dict[str, Batcher] = {}
        self._decoders = ThreadPoolExecutor(cores(), "decode")
        # One picture at a time: see `Explainer`.
        self._explaining = ThreadPoolExecutor(1, "explain")

    def start(self) -> None:
        for name, model in self.models.items():
            self._batchers[name] = Batcher(model.engine, waiting=self.limits.waiting)

    async def stop(self) -> None:
        for batcher in self._batchers.values():
            await run_in_threadpool(batcher.close)
        for threads in (self._decoders, self._explaining):
            threads.shutdown(wait=False, cancel_futures=True)

    def waiting(self) -> int:
        """Images in the queues."""
        return sum(map(len, self._batchers.values()))

    def model(self, name: str) -> ServedModel:
        """The model called `name`, the first for "". Raises Refused if there is none."""
        if name and name not in self.models:
            raise Refused(422, f"no model {name} is served; there are: {', '.join(self.models)}")
        return self.models[name] if name else next(iter(self.models.values()))

    async def predict(self, request: Request, model: str, top: int) -> list[dict[str, Any]]:
        """Return a prediction for each image of the request: see `ServedModel.prediction`."""
        served = self.model(model)
        pictures = await self._within(_pictures(request, self.limits.images))
        work = self._predictions(served, pictures, top)
        predictions: list[dict[str, Any]] = await self._within(work)
        if all(prediction["error"] for prediction in predictions):
            raise Refused(422, "; ".join(prediction["error"] for prediction in predictions))
        return predictions

    async def heatmap(self, request: Request, model: str, label: str) -> tuple[bytes, str]:
        """Return a PNG of the evidence for a class, by default the answer; and that class."""
        explainer = _explainer(served := self.model(model))
        square = await self._square(served, request)
        if label:
            try:
                number = class_number(label, served.labels, len(served.labels))
            except InceptiveError as error:
                raise Refused(422, str(error)) from None
        else:
            [future] = self._submit(served, [square])
            probs, _ = await self._within(asyncio.wrap_future(future))
            number = int(probs.argmax())
        png = await self._explained(explainer.heat, square, number)
        return png, served.labels[number]

    async def features(self, request: Request, model: str, layer: str) -> bytes:
        """Return a PNG of the maps of `layer`, by default the last."""
        explainer = _explainer(served := self.model(model))
        if layer and layer not in explainer.layers:
            layers = ", ".join(explainer.layers)
            raise Refused(422, f"{served.name} has no maps {layer}; there are: {layers}")
        square = await self._square(served, request)
        return await self._explained(explainer.features, square, layer or explainer.layers[-1])

    async def _explained(self, look: Callable[..., bytes], *args: Any) -> bytes:
        """What `look` draws, in its turn; what is too late is not begun."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._explaining, look, *args)
        return cast(bytes, await self._within(work))

    async def _square(self, served: ServedModel, request: Request) -> np.ndarray:
        """What the net sees of the one image of a request."""
        pictures = await self._within(_pictures(request, self.limits.images))
        if len(pictures) != 1:
            raise Refused(422, f"this takes one image, not {len(pictures)}")
        image: Decoded = await self._within(self._decoded(served, *pictures[0]))
        if isinstance(image.square, str):
            raise Refused(422, image.square)
        return image.square

    async def _decoded(self, served: ServedModel, name: str, content: bytes) -> Decoded:
        """The same as `ServedModel.decode`, by as many threads as there are cores."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, served.decode, name, content)

    async def _predictions(
        self, served: ServedModel, pictures: list[tuple[str, bytes]], top: int
    ) -> list[dict[str, Any]]:
        if len(batcher := self._batchers[served.name]) >= batcher.limit:  # else decoded for nothing
            raise Refused(429, BUSY, {"Retry-After": "1"})
        decoded = await asyncio.gather(*(self._decoded(served, *picture) for picture in pictures))
        futures = self._submit(
            served, [image.square for image in decoded if not isinstance(image.square, str)]
        )
        try:
            answers = iter([await asyncio.wrap_future(future) for future in futures])
        finally:
            for future in futures:
                future.cancel()  # of what is too late, nothing more is worked on
        return [
            served.prediction(image, None if isinstance(image.square, str) else next(answers), top)
            for image in decoded
        ]

    def _submit(self, served: ServedModel, squares: list[np.ndarray]) -> list[Any]:
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


class _Form(MultiPartParser):
    """A form that knows whether its end came: of one that is cut off, the last part is not there."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _pictures(request: Request, limit: int) -> list[tuple[str, bytes]]:
    """(name, content) of each image of a request. Raises Refused for none or more than `limit`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        try:
            content = await request.body()
        except ClientDisconnect:
            raise Refused(400, "the request ended before its body did") from None
        pictures = [("image", content)] if content else []
    else:
        parser = _Form(request.headers, request.stream(), max_files=limit, max_fields=limit)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Refused(422, error.message) from None
        except ClientDisconnect:
            raise Refused(400, "the request ended before its body did") from None
        except OSError as error:
            raise Refused(507, f"the images cannot be kept ({reason(error)})") from None
        if not parser.ended:
            raise Refused(422, "the form has no end: a part of it is missing")
        uploads = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        pictures = [(upload.filename or "image", await upload.read()) for upload in uploads]
        await form.close()
    if not pictures:
        raise Refused(422, "no image: send one as the body, or several as multipart/form-data")
    return pictures


def _explainer(served: ServedModel) -> Explainer:
    if served.explainer is None:
        raise Refused(501, f"{served.name} cannot be explained here: see `explains` of /v1/model")
    return served.explainer
