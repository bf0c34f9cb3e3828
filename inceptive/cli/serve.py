"""inceptive serve: a model over HTTP, with a web page."""

from typing import Annotated

from typer import Argument, Option

from inceptive.cli.net_argument import EarlyExitOption, EngineOption
from inceptive.cli.progress import Display

NAME = "serve"


def run(
    models: Annotated[
        list[str],
        Argument(
            metavar="MODEL...",
            help="a model folder, an exported file or a published name; several are shown side by side",
        ),
    ],
    host: Annotated[str, Option(help="address to listen on; 0.0.0.0: all of them")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="port number; 0: any free port")] = 8000,
    engine: EngineOption = "auto",
    early_exit: EarlyExitOption = False,
    accuracy: Annotated[
        float | None,
        Option(
            min=0,
            max=1,
            help="required accuracy of its sure answers; below the threshold that reached it on "
            "validation images an answer is 'not sure' [default: 0.95, or the nearest reachable]",
        ),
    ] = None,
    max_mib: Annotated[float, Option(min=0.001, help="largest request, in MiB")] = 64,
    max_images: Annotated[int, Option(min=1, help="maximum images per request")] = 64,
    waiting: Annotated[
        int, Option(min=1, help="maximum queued images; further ones are refused (429)")
    ] = 256,
    seconds: Annotated[float, Option(min=0.001, help="time limit per request, in seconds")] = 30,
    token: Annotated[
        str, Option(envvar="INCEPTIVE_TOKEN", help="required `Authorization: Bearer` token")
    ] = "",
) -> None:
    """Serve each MODEL over HTTP until stopped.

    A web page at /, an API at /v1, documented at /docs. Concurrent requests are batched. No request
    data is stored.
    """
    import signal

    from inceptive.serving.serve import serve

    # To be asked to stop is no failure, whoever asks.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(
        models, host, port, engine=engine, early_exit=early_exit, accuracy=accuracy, max_mib=max_mib,
        max_images=max_images, waiting=waiting, seconds=seconds, token=token, progress=Display(),
    )  # fmt: skip
