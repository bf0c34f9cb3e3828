"""inceptive serve: a model over HTTP, with a page for people."""

from typing import Annotated

from typer import Argument, Option

NAME = "serve"


def run(
    models: Annotated[
        list[str],
        Argument(
            metavar="MODEL...",
            help="a model folder, an exported file or a published name; several are shown side by side",
        ),
    ],
    host: Annotated[str, Option(help="address to listen on; 0.0.0.0 is every one")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0 is any free one")] = 8000,
    engine: Annotated[
        str, Option(help="auto (the fastest export that passed its check), torch, openvino or onnx")
    ] = "auto",
    early_exit: Annotated[
        bool, Option("--early-exit", help="heads answer where they are sure (see early-exit)")
    ] = False,
    accuracy: Annotated[
        float | None,
        Option(
            min=0,
            max=1,
            help="share of its sure answers that are to be right; below the threshold that held it "
            "on validation images an answer is 'not sure' [default: 0.95, or what comes nearest]",
        ),
    ] = None,
    max_mib: Annotated[float, Option(min=0.001, help="largest request")] = 64,
    max_images: Annotated[int, Option(min=1, help="images in one request")] = 64,
    waiting: Annotated[
        int, Option(min=1, help="images that may wait; more are refused, 429")
    ] = 256,
    seconds: Annotated[float, Option(min=0.001, help="until an answer; later it is refused")] = 30,
    token: Annotated[
        str, Option(envvar="INCEPTIVE_TOKEN", help="what `Authorization: Bearer` must hold")
    ] = "",
) -> None:
    """Answer for each MODEL over HTTP until stopped.

    A page for people at /, an interface for programs at /v1, described at /docs. Requests that come
    together are answered together. Nothing of them is stored.
    """
    import signal

    from inceptive.cli.progress import Display
    from inceptive.serving.serve import serve

    # To be asked to stop is no failure, whoever asks.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(
        models, host, port, engine=engine, early_exit=early_exit, accuracy=accuracy, max_mib=max_mib,
        max_images=max_images, waiting=waiting, seconds=seconds, token=token, progress=Display(),
    )  # fmt: skip
