"""`kerasortho serve`: answer requests with exported models, over REST and gRPC."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from kerasortho.errors import KerasOrthoError
from kerasortho.quiet import only_python_on_stderr


@click.command()
@click.argument("folder", default="exported", type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 is all of them.")
@click.option("--rest-port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="Port of REST.")
@click.option(
    "--port", "grpc_port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="Port of gRPC."
)
@click.option(
    "--with",
    "which",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "tensorflow-serving", "docker", "embedded"]),
    help="auto: TensorFlow Serving where it is installed, else embedded. docker: print the command.",
)
@click.option(
    "--max-request-mb", default=128, show_default=True, type=click.IntRange(min=1), help="Embedded: largest request."
)
@click.option(
    "--max-waiting-mb", default=1024, show_default=True, type=click.IntRange(min=1),
    help="Embedded: all requests being answered, together.",
)  # fmt: skip
def serve_command(
    folder: str, host: str, rest_port: int, grpc_port: int, which: str, max_request_mb: int, max_waiting_mb: int
) -> int:
    """Serve all models in FOLDER, as `kerasortho export` wrote them, until Ctrl-C.

    TensorFlow Serving is started where it is installed. Otherwise this process answers the same requests itself, which
    is meant for development and small sites. New versions are picked up while it runs.
    """
    if rest_port == grpc_port != 0:
        raise KerasOrthoError(
            f"REST and gRPC need two ports, and {rest_port} is given for both. Choose another one for REST with "
            "--rest-port, or for gRPC with --port."
        )
    _log_to_stderr()
    path = Path(folder)
    if not path.is_dir():
        raise KerasOrthoError(f"There is no folder {folder}. `kerasortho export RUN` makes it.")
    from kerasortho.serving.model_server import docker_command, docker_works, find_model_server, run_model_server

    binary = find_model_server()
    if which == "docker":
        click.echo(docker_command(path))
        return 0
    if which == "tensorflow-serving" and binary is None:
        raise KerasOrthoError(
            "tensorflow_model_server is not in PATH. Install TensorFlow Serving, or use it in Docker (--with docker "
            "prints the command), or serve --with embedded."
        )
    if binary is not None and which != "embedded":
        if 0 in (rest_port, grpc_port):
            raise KerasOrthoError(
                "Port 0, any that is free, is for the embedded server; TensorFlow Serving must be told its ports. Name "
                "them with --rest-port and --port, or serve --with embedded."
            )
        click.echo(f"TensorFlow Serving: {binary}. It listens at all addresses, whatever --host is.", err=True)
        return run_model_server(binary, path, rest_port=rest_port, grpc_port=grpc_port)
    if which == "auto" and docker_works():
        click.echo(f"TensorFlow Serving itself can be started with: {docker_command(path)}", err=True)
    _serve_embedded(path, host, rest_port, grpc_port, max_request_mb, max_waiting_mb)
    return 0


def _serve_embedded(
    folder: Path, host: str, rest_port: int, grpc_port: int, max_request_mb: int, max_waiting_mb: int
) -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise KerasOrthoError(
            f"The embedded server needs the package {error.name}: pip install 'kerasortho[serving]'"
        ) from None
    from kerasortho.serving.server import Addresses, EmbeddedServer
    from kerasortho.serving.settings import MEGABYTE, Limits

    limits = Limits(request_bytes=max_request_mb * MEGABYTE, waiting_bytes=max_waiting_mb * MEGABYTE)
    server = EmbeddedServer(folder, Addresses(host, rest_port, grpc_port), limits=limits)
    with only_python_on_stderr():  # or clients could fill the log with what decoders say of damaged images
        server.run(lambda at: click.echo(f"Embedded server: rest={at.rest} grpc={at.grpc}"))


def _log_to_stderr() -> None:
    logger = logging.getLogger("kerasortho.serving")
    if logger.handlers:
        return
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)
