"""What the command line asks of a running controller, over its API."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from controller.cli.terminal import fail, load_site

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option("--api", "--url", help="where the controller's API answers", envvar="WATTSHIFT_URL"),
]
SiteFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="ask where `api` of this site file says")
]
DEFAULT_URL = "http://127.0.0.1:9480"
TIMEOUT_S = 5.0
REFUSAL_BYTES = 500


def get(path: str, url: str | None, config: Path | None, read: Callable[[Any], T]) -> T:
    """What `read` makes of what the controller's API tells. A clear message and exit 1 where nothing answers,
    or something in which not all is there: another version tells it, or no controller at all."""
    if url is None:
        url = DEFAULT_URL if config is None else _api_of(config)
    where = url.removesuffix("/") + path
    try:
        told = _answer(where)
    except (OSError, http.client.HTTPException, ValueError) as error:
        fail(f"{where}: {' '.join(str(error).split())}")
    try:
        return read(told)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        fail(f"{where}: this version does not understand the answer: {error!r}")


def _answer(where: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(where, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            said = refusal.read(REFUSAL_BYTES).decode(errors="replace")
        raise OSError(f"{refusal.code} {said}") from refusal


def _api_of(config: Path) -> str:
    """Where the controller of a site file answers, seen from its own host."""
    api = load_site(config).api
    if api.port == 0:
        fail(f"{config}: api.port 0 is the kernel's choice: say --api URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{api.port}"
