"""Whatever outsiders send, a simulated miner answers as firmware does: it refuses, and it stays up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faces.antminer import AntminerApi
from simulators.faces.auradine import AuradineApi
from simulators.faces.avalon import AvalonApi
from simulators.faces.axeos import AxeosApi
from simulators.faces.epic import EpicApi
from simulators.faces.http import HttpAnswer, HttpRequest, WebApi
from simulators.faces.luxos import LuxosApi
from simulators.faces.marafw import MaraApi
from simulators.faces.vnish import VnishApi
from simulators.faces.vnish_rpc import VnishRpc
from simulators.faces.whatsminer import WhatsminerApi
from simulators.faces.whatsminer_v3 import LegacyApi, WhatsminerV3Api
from tests.simulators.plants import miners, only_miner, plant

Api = (
    LuxosApi
    | WhatsminerApi
    | AntminerApi
    | AvalonApi
    | WhatsminerV3Api
    | LegacyApi
    | VnishRpc
    | AuradineApi
    | MaraApi
)
APIS = {
    LuxosApi: "luxos",
    WhatsminerApi: "whatsminer",
    AntminerApi: "antminer",
    AvalonApi: "avalon",
    WhatsminerV3Api: "whatsminer-v3",
    LegacyApi: "whatsminer-v3",
    VnishRpc: "vnish",
    AuradineApi: "auradine",
    MaraApi: "marafw",
}
WEB_APIS: dict[type[WebApi], str] = {
    VnishApi: "vnish",
    AuradineApi: "auradine",
    AxeosApi: "axeos",
    MaraApi: "marafw",
    EpicApi: "epic",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
COMMANDS = (
    *("curtail", "profileset", "atmset", "logoff", "power+", "+", "get_token", "summary", "stats", "ascset"),
    *("get.device.info", "get.miner.status", "set.miner.service", "set."),
)


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=50, deadline=None)
@given(command=JSON | st.sampled_from(COMMANDS), key=st.sampled_from(["command", "cmd", "enc"]), rest=JSON)
def test_whatever_is_asked_is_answered_with_an_object(
    api: type[Api], command: object, key: str, rest: object
) -> None:
    site = plant(miners=[miners(APIS[api])])
    request = {key: command, "parameter": rest, "param": rest, "data": rest, "token": rest, "ts": rest}

    answer = api(only_miner(site), lambda: site.now_s).answer(request)

    assert isinstance(answer, dict)
    assert json.dumps(answer)


@pytest.mark.parametrize("parameters", ["sleep", "mode=", "enabled", "enabled=maybe", "", ",,,"])
@pytest.mark.parametrize("command", ["curtail", "profileset", "atmset", "logoff"])
def test_luxos_answers_an_order_that_makes_no_sense(command: str, parameters: str) -> None:
    site = plant(miners=[miners()])
    api = LuxosApi(only_miner(site), lambda: site.now_s)
    session = api.answer({"command": "logon"})["SESSION"][0]["SessionID"]

    answer = api.answer({"command": command, "parameter": f"{session},{parameters}"})

    assert answer["STATUS"][0]["STATUS"] in ("S", "E")


@settings(max_examples=50, deadline=None)
@given(body=JSON)
def test_whatever_is_posted_to_a_stock_antminer_it_can_still_be_read(body: object) -> None:
    site = plant(miners=[miners("antminer")])
    api = AntminerApi(only_miner(site), lambda: site.now_s)

    for posted in (body, {"pools": body}, {"pools": [body]}, {"miner-mode": body}):
        api.configure(json.dumps(posted).encode())

        assert api.answer({"command": "pools"})["STATUS"][0]["STATUS"] == "S"
        assert api.answer({"command": "stats"})["STATUS"][0]["STATUS"] == "S"


@settings(deadline=None)
@given(target=st.text(max_size=30), body=st.binary(max_size=30), authorization=st.text(max_size=60))
def test_whoever_proves_nothing_is_told_nothing(target: str, body: bytes, authorization: str) -> None:
    site = plant(miners=[miners("antminer")])
    api = AntminerApi(only_miner(site), lambda: site.now_s)
    headers = {"authorization": f"Digest {authorization}"}

    answer = api.serve(HttpRequest(method="GET", target=target, headers=headers, body=body))

    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.content_type) == (401, "text/html")


TARGETS = (
    "/api/v1/settings",
    "/api/v1/mining/stop",
    "/mode",
    "/token",
    "/api/v1/unlock",
    "/kaonsu/v1/miner_config",
    "/miner",
    "/perpetualtune/algo",
)


@pytest.mark.parametrize("api", WEB_APIS)
@settings(max_examples=50, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", ""]),
    target=st.sampled_from(TARGETS) | st.text(max_size=30),
    body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30),
    header=st.text(max_size=40),
)
def test_whatever_is_requested_the_machine_answers_and_goes_on_hashing(
    api: type[WebApi], method: str, target: str, body: bytes, header: str
) -> None:
    site = plant(miners=[miners(WEB_APIS[api])])
    headers = {"authorization": header, "token": header}
    face: WebApi = api(only_miner(site), lambda: site.now_s)  # type: ignore[call-arg]  # as all of them are made

    answer = face.serve(HttpRequest(method=method, target=target, headers=headers, body=body))

    assert isinstance(answer, HttpAnswer)
    assert not only_miner(site).report(site.now_s).asleep


@pytest.mark.parametrize(
    ("api", "login", "order"),
    [
        (VnishApi, ("/api/v1/unlock", {"pw": "admin"}), "/api/v1/settings"),
        (AuradineApi, ("/token", {"user": "admin", "password": "admin"}), "/mode"),
    ],
)
@settings(max_examples=50, deadline=None)
@given(body=JSON)
def test_whatever_someone_with_a_token_posts_the_machine_can_still_be_read(
    api: type[VnishApi | AuradineApi], login: tuple[str, object], order: str, body: object
) -> None:
    site = plant(miners=[miners(WEB_APIS[api])])
    face = api(only_miner(site), lambda: site.now_s)
    answer = json.loads(face.serve(_post(login[0], login[1])).body)
    token = answer["token"] if "token" in answer else answer["Token"][0]["Token"]
    headers = {"authorization": f"Bearer {token}", "token": token}

    for posted in (body, {"miner": body}, {"miner": {"overclock": body}}, {"mode": body, "sleep": body}):
        face.serve(_post(order, posted, headers))

        read = face.serve(HttpRequest(method="GET", target=order, headers=headers, body=b""))
        assert read.status == 200
        assert json.loads(read.body)


def _post(target: str, value: object, headers: dict[str, str] | None = None) -> HttpRequest:
    return HttpRequest(method="POST", target=target, headers=headers or {}, body=json.dumps(value).encode())
