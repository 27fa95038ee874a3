"""The faces against what real machines are known to answer, field by field."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlparse

import pytest
from betterproto import Casing
from grpclib.client import Channel

from drivers.asic.digest import DigestClient
from drivers.asic.jsonhttp import request as http
from simulators.faces.braiins_messages import v1
from tests.simulators.shapes import KINDS, SHAPES, Shape
from tests.simulators.shapes_braiins import BRAIINS_SHAPES, EPIC_SHAPES
from tests.simulators.shapes_grpc import MESSAGES
from tests.simulators.shapes_luxos import LUXOS_SHAPES, POOLS
from tests.simulators.shapes_marafw import MARA_SHAPES
from tests.simulators.shapes_vnish import VNISH_SHAPES
from tests.simulators.wires import ADDRESS, PORTS, ask, served

pytestmark = pytest.mark.socket

AURADINE_HTTP = PORTS[8080]


ALL = (*SHAPES, *POOLS, *LUXOS_SHAPES, *VNISH_SHAPES, *MARA_SHAPES, *BRAIINS_SHAPES, *EPIC_SHAPES, *MESSAGES)


@pytest.mark.parametrize("shape", ALL, ids=[shape.id for shape in ALL])
async def test_a_face_answers_every_field_that_the_real_machine_is_known_to_answer(shape: Shape) -> None:
    async with served(shape.family):
        record = at(await reply_to(shape), shape.path)

    wrong = {
        name: f"{record.get(name, 'missing')!r} is no {kind}"
        for kind, names in shape.fields.items()
        for name in names
        if not is_a(kind, record.get(name))
    }
    assert wrong == {}, f"{shape.firmware}: {shape.source}"


async def reply_to(shape: Shape) -> Any:
    command, _, parameter = shape.request.partition(" ")
    match shape.family:
        case "whatsminer-v3":
            message = {"cmd": command} | ({"param": parameter} if parameter else {})
            return json.loads(await framed(json.dumps(message).encode()))
        case "antminer" | "marafw" if command.startswith("/"):
            client = DigestClient(ADDRESS, PORTS[80], "root", "root")
            return await client.get(urlparse(command).path, deadline_s=2.0)
        case "braiins" if "/" in command:
            return await called(*command.split("/"))
        case "epic":
            return (await http(ADDRESS, PORTS[4028], command, deadline_s=2.0)).body
        case "vnish" if command.startswith("/"):
            unlocked = (
                await http(ADDRESS, PORTS[80], "/api/v1/unlock", post={"pw": "admin"}, deadline_s=2.0)
            ).body
            headers = {"Authorization": unlocked["token"]}
            return (await http(ADDRESS, PORTS[80], command, headers=headers, deadline_s=2.0)).body
        case "auradine" if command.startswith("/"):
            login = {"command": "token", "user": "admin", "password": "admin"}
            token = (await http(ADDRESS, AURADINE_HTTP, "/token", post=login, deadline_s=2.0)).body
            headers = {"Token": token["Token"][0]["Token"]}
            return (await http(ADDRESS, AURADINE_HTTP, command, headers=headers, deadline_s=2.0)).body
        case _:
            return await ask(command)


async def called(service: str, method: str) -> dict[str, Any]:
    """The reply over gRPC, with only what is on the wire."""
    path = f"/braiins.bos.v1.{service}/{method}"
    request = getattr(v1, f"{service}Base")().__mapping__()[path].request_type()
    name = re.sub(r"(?<=.)(?=[A-Z])", "_", method).lower()
    channel = Channel(ADDRESS, PORTS[50_051])
    try:
        login = v1.LoginRequest(username="root", password="root")
        token = (await v1.AuthenticationServiceStub(channel).login(login)).token
        stub = getattr(v1, f"{service}Stub")(channel)
        reply = await getattr(stub, name)(request, metadata={"authorization": token})
        return dict(reply.to_pydict(casing=Casing.SNAKE, include_default_values=False))
    finally:
        channel.close()


async def framed(message: bytes) -> bytes:
    from drivers.asic.wire import exchange, is_whole_frame, unframed
    from drivers.asic.wire import framed as in_a_frame

    reply = await exchange(ADDRESS, PORTS[4433], in_a_frame(message), deadline_s=2.0, is_whole=is_whole_frame)
    return unframed(reply)


def at(value: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
    """The record there; one written as `KEY[value]` in one text is taken apart."""
    for step in path:
        value = value[step]
    if isinstance(value, str):
        return dict(re.findall(r"(\w+)\[([^\]]*)\]", value))
    assert isinstance(value, dict)
    return value


def is_a(kind: str, value: object) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "truth" or not isinstance(value, bool))
