"""VNish: what its answers mean, and how its token and its presets are treated."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import vnish, vnish_replies
from drivers.asic.adapter import Plate, RefusedError, Sample
from drivers.asic.jsonhttp import Answer
from drivers.asic.points import usable_points
from drivers.asic.trouble import as_driver_error
from drivers.asic.vnish import VNish
from drivers.base import DriverError
from tests.drivers.asic_fakes import Json, plate, point, remapped
from tests.drivers.asic_web_fakes import JsonServer, Request

PRESETS = {"2100": point("2100", 2100, 78.0), "2950": point("2950", 2950, 99.0)}
SWITCHER = {"enabled": True, "top_preset": "2950", "rise_temp": 55}


def summary(state: str = "mining", **miner: Any) -> Json:
    told: Json = {
        "miner_status": {"miner_state": state},
        "hr_realtime": 77_900.0,
        "instant_hashrate": 77.9,
        "power_consumption": 2088,
        "power_usage": 2088,
        "chip_temp": {"min": 60, "max": 74},
        "chains": [],
    }
    return {"miner": told | miner}


def sample(told: Json, overclock: Json | None = None) -> Sample:
    bound = vnish_replies.setting(overclock or {"preset": "2100"}, PRESETS)
    return vnish_replies.sample(told, bound, plate(), PRESETS, 1e-3)


# -- what it says ----------------------------------------------------------------------------------------


def test_watts_are_measured_only_by_a_psu_that_meters() -> None:
    unsaid = sample(summary()).reading
    metered = sample(summary(psu={"psu_power_metering": True})).reading

    assert (unsaid.draw, unsaid.quality) == (Power(2088), Quality.ESTIMATED)
    assert (metered.draw, metered.quality) == (Power(2088), Quality.MEASURED)


@pytest.mark.parametrize(
    "told",
    [
        {"power_consumption": 2088, "power_usage": 26.8},  # a build whose `power_usage` is an efficiency
        {"power_consumption": 0, "power_usage": 2088},
        {"power_consumption": None, "power_usage": 2087.4},  # a build of before `power_consumption`
    ],
)
def test_the_watts_are_read_from_whichever_field_has_them(told: Json) -> None:
    assert sample(summary(**told)).reading.draw == Power(2088)


@pytest.mark.parametrize("watts", [0, 26.8, -5])
def test_a_hashing_machine_without_believable_watts_draws_all_that_its_preset_allows(watts: float) -> None:
    told = summary(power_consumption=watts, power_usage=watts)

    with_preset = sample(told).reading
    by_hand = sample(told, {"preset": "disabled"}).reading

    assert (with_preset.draw, with_preset.quality) == (Power(2100), Quality.ESTIMATED)
    assert (by_hand.draw, by_hand.quality) == (Power(3150), Quality.ESTIMATED)


def test_a_starting_machine_that_tells_no_watts_yet_is_not_at_rest() -> None:
    told = summary("initializing", power_consumption=0, power_usage=0, hr_realtime=0)

    assert sample(told).reading.draw == Power(2100)


@pytest.mark.parametrize("rate_ths", [0.0, 0.2, 1.0, 5.0, 6.0, 40.0, 110.0])
def test_a_machine_that_tells_its_efficiency_alone_does_not_draw_that(rate_ths: float) -> None:
    """27 J/TH are more than 5 W per TH/s of a machine that makes no more than 5 TH/s yet."""
    told = {"power_consumption": None, "power_usage": 26.8, "hr_realtime": rate_ths * 1000}

    starting = sample(summary("initializing", **told)).reading
    stopping = sample(summary("shutting-down", **told)).reading

    assert starting.draw >= Power(2100)
    assert stopping.draw == Power(27 if rate_ths == 0 else 3150)


def test_a_machine_that_tells_its_efficiency_alone_draws_what_it_hashes_beyond_its_preset() -> None:
    """26.8 J/TH at 99 TH/s are 2,653 W, by its own words."""
    told: Json = {"power_consumption": None, "power_usage": 26.8}

    liar = sample(summary(**told, hr_realtime=99_000)).reading
    wavers = sample(summary(**told, hr_realtime=85_000)).reading

    assert (liar.draw, liar.setting) == (Power(2971), Limit(Power(2100)))
    assert wavers.draw == Power(2100)


def test_few_watts_of_an_old_build_are_believed_once_they_can_be_no_efficiency() -> None:
    told: Json = {"power_consumption": None, "power_usage": 900}

    starting = sample(summary("initializing", **told, hr_realtime=4_000)).reading
    derated = sample(summary(**told, hr_realtime=30_000)).reading

    assert (starting.draw, derated.draw) == (Power(2100), Power(900))


def test_a_stopped_machine_that_tells_no_watts_is_at_rest_unless_it_still_hashes() -> None:
    silent: Json = {"power_consumption": 0, "power_usage": 0}

    at_rest = sample(summary("stopped", hr_realtime=0, **silent)).reading
    liar = sample(summary("stopped", **silent)).reading

    assert (at_rest.draw, at_rest.setting) == (Power(25), Limit(Power(25)))
    assert (liar.draw, liar.setting) == (Power(3150), Limit(Power(25)))


def test_a_summary_without_any_watts_is_no_reading() -> None:
    with pytest.raises(DriverError, match="power_consumption"):
        sample(summary(power_consumption=None, power_usage=None))


@pytest.mark.parametrize("state", ["stopped", "shutting-down", "paused"])
def test_a_machine_that_was_told_to_stop_is_set_to_sleep(state: str) -> None:
    assert sample(summary(state)).reading.setting == Limit(Power(25))


@pytest.mark.parametrize("state", ["mining", "initializing", "auto-tuning", "failure", "something new"])
def test_a_machine_that_was_not_told_to_stop_is_set_to_its_preset(state: str) -> None:
    assert sample(summary(state)).reading.setting == Limit(Power(2100))


@pytest.mark.parametrize(
    ("overclock", "setting"),
    [
        ({"preset": 2950}, Limit(Power(2950))),
        ({"preset": "disabled"}, NO_LIMIT),
        ({"preset": "2100", "preset_switcher": SWITCHER}, Limit(Power(2950))),
        ({"preset": "2950", "preset_switcher": SWITCHER | {"top_preset": "2100"}}, Limit(Power(2950))),
        ({"preset": "2100", "preset_switcher": SWITCHER | {"enabled": False}}, Limit(Power(2100))),
        ({"preset": "2100", "preset_switcher": SWITCHER | {"top_preset": None}}, NO_LIMIT),
    ],
)
def test_the_setting_is_the_highest_preset_that_the_machine_may_take_by_itself(
    overclock: Json, setting: object
) -> None:
    assert sample(summary(), overclock).reading.setting == setting


def test_the_hottest_chip_of_any_board_counts_and_no_board_sensor() -> None:
    chains = [{"chip_temp": {"max": 81}, "pcb_temp": {"max": 95}}, {"pcb_temp": {"max": 60}}]

    assert sample(summary(chains=chains)).reading.hottest_c == 81
    assert sample(summary("stopped", chip_temp={"min": 0, "max": 0})).reading.hottest_c is None


def test_the_rate_is_in_the_unit_that_the_machine_names() -> None:
    told = summary()

    in_ghs = vnish_replies.sample(told, NO_LIMIT, plate(), PRESETS, 1e-3).reading.rate
    in_mhs = vnish_replies.sample(told, NO_LIMIT, plate(), PRESETS, 1e-6).reading.rate
    of_old = vnish_replies.sample(summary(hr_realtime=None), NO_LIMIT, plate(), PRESETS, 1e-3).reading.rate

    assert [in_ghs, in_mhs, of_old] == pytest.approx([77.9, 0.0779, 77.9])


# -- presets ---------------------------------------------------------------------------------------------


def preset(name: str, pretty: str = "", status: str = "tuned", **more: Any) -> Json:
    return {"name": name, "pretty": pretty, "status": status, "modded_psu_required": False} | more


MANUAL = preset("disabled", "Disabled", "untuned")


def offered(plate: Plate, *records: Json) -> list[OperatingPoint]:
    found = vnish_replies.presets(records, plate)
    names = vnish_replies.offered_names(records, plate)
    return list(usable_points([found[name] for name in names if name in found], plate))


@pytest.mark.parametrize(
    ("name", "pretty", "power_w", "rate"),
    [
        ("1100", "1100 watt ~ 53 TH", 1100, 53.0),
        ("p1", "1210W ~ 65.5 TH LC", 1210, 65.5),
        ("3800", "3800 watt ~ 106 Th", 3800, 106.0),
        ("9500", "3200 watt ~ 9500 MH", 3200, 0.0095),
    ],
)
def test_a_presets_watts_and_rate_are_read_from_its_label(
    name: str, pretty: str, power_w: int, rate: float
) -> None:
    found = vnish_replies.presets([preset(name, pretty)], plate())[name]

    assert found.power == Power(power_w)
    assert found.rate == pytest.approx(rate)


def test_a_preset_without_a_label_has_the_watts_of_its_name() -> None:
    found = vnish_replies.presets([preset("1500"), preset("quiet", "Quiet")], plate())

    assert list(found) == ["1500"]
    assert found["1500"].rate == plate().point("1500", 1500).rate


def test_only_presets_that_the_machine_is_tuned_for_are_offered() -> None:
    points = offered(
        plate(),
        MANUAL,
        preset("1500", "1500 watt ~ 63 TH", "untuned"),
        preset("2100", "2100 watt ~ 78 TH"),
        preset("2500", "2500 watt ~ 88 TH", modded_psu_required=True),
        preset("2950", "2950 watt ~ 99 TH"),
        preset("3350", "3350 watt ~ 105 TH"),
    )

    assert [point.name for point in points] == ["sleep", "2100", "2950"]


def test_a_preset_that_the_operator_names_counts_as_tuned_and_has_his_watts() -> None:
    named = plate(points=(point("sleep", 30), point("1500", 1520, 62)))

    points = offered(named, MANUAL, preset("1500", "1500 watt ~ 63 TH", "untuned"), preset("2100"))

    assert [(point.name, point.power.watts, point.rate) for point in points] == [
        ("sleep", 30, 0.0),
        ("1500", 1520, 62),
    ]


def test_a_machine_that_is_tuned_for_nothing_can_be_switched_off_and_on() -> None:
    points = offered(plate(), MANUAL, preset("1500", "1500 watt ~ 63 TH", "untuned"))

    assert [(point.name, point.power.watts) for point in points] == [("sleep", 25), ("disabled", 3000)]


@pytest.mark.parametrize("wrapped", [False, True])
def test_presets_come_in_a_list_or_in_an_object(wrapped: bool) -> None:
    records = [preset("1500")]

    assert vnish_replies.preset_records({"presets": records} if wrapped else records) == records


# -- answers ---------------------------------------------------------------------------------------------


def test_an_answer_that_names_an_error_is_a_refusal_whatever_its_status() -> None:
    for status in (200, 409, 500):
        with pytest.raises(RefusedError, match="pause-mode"):
            vnish.content("mining/stop", Answer(status=status, body={"err": "failed-to-activate-pause-mode"}))


def test_an_unsuccessful_answer_without_a_reason_is_no_refusal() -> None:
    with pytest.raises(DriverError, match="HTTP 502") as error:
        vnish.content("mining/stop", Answer(status=502))

    assert not isinstance(error.value, RefusedError)


# -- orders ----------------------------------------------------------------------------------------------


class VnishScript:
    """A VNish machine whose tokens are good for as many requests as `token_uses` says."""

    def __init__(self, state: str = "mining", preset: str = "2950", token_uses: int = 1000) -> None:
        self.state = state
        self.overclock: Json = {"preset": preset, "globals": {"volt": 1380}}
        self.token_uses = token_uses
        self.refuses: set[str] = set()
        self.loses = ""
        """The order that it carries out, and answers with a page of its proxy."""
        self.read_only = False
        self.result: Json | None = {"restart_required": False, "reboot_required": False}
        self.owes = False
        self.has_status = True
        self.unlocks = 0
        self._left = 0

    def __call__(self, request: Request) -> tuple[int, Any]:
        path = request.line.split("/api/v1/")[1]
        if path == "unlock":
            self.unlocks += 1
            self._left = self.token_uses
            return (200, {"token": f"t{self.unlocks}"}) if request.body == {"pw": "admin"} else (403, None)
        if request.headers.get("authorization") != f"Bearer t{self.unlocks}" or self._left <= 0:
            return 401, {"err": "Unauthorized"}
        self._left -= 1
        if path in self.refuses or (self.read_only and path == "settings" and request.body is not None):
            return 500, {"err": "not now"}
        answer = self._page(path, request.body)
        return (502, None) if path == self.loses and request.body is not None else answer

    def _page(self, path: str, body: Any) -> tuple[int, Any]:
        match path:
            case "info":
                return 200, {"hr_measure": "GH/s", "system": {"network_status": {"mac": "02:00:00:00:00:07"}}}
            case "autotune/presets":
                return 200, [preset("2100", "2100 watt ~ 78 TH"), preset("2950", "2950 watt ~ 99 TH")]
            case "summary":
                return 200, summary(self.state)
            case "settings" if body is None:
                return 200, {"miner": {"overclock": self.overclock}}
            case "settings":
                self.overclock = body["miner"]["overclock"]
                self.owes = bool(self.result and True in self.result.values())
                return 200, self.result
            case "status" if self.has_status:
                return 200, {"restart_required": self.owes, "reboot_required": False}
            case "status":
                return 404, None
            case "mining/restart":
                self.owes = False
            case "mining/stop" if self.state == "stopped":
                return 500, {"err": "failed-to-activate-pause-mode"}
            case "mining/stop":
                self.state = "stopped"
            case "mining/start":
                self.state = "mining"
            case _:
                pass
        return 200, None


async def told(script: VnishScript, wanted: OperatingPoint) -> tuple[list[str], DriverError | None]:
    """What a machine hears when it is told to go to `wanted`, without its logins, and what came of it."""
    adapter = VNish(plate())
    caught = None
    async with JsonServer(script).serving() as server:
        await adapter.hello()
        server.heard.clear()
        try:
            with as_driver_error():
                await adapter.change(wanted)
        except DriverError as error:
            caught = error
    return [line.replace("/api/v1/", "") for line in server.lines if "unlock" not in line], caught


@pytest.mark.socket
@remapped
async def test_the_command_that_a_token_ran_out_at_is_sent_again_with_a_fresh_one() -> None:
    script = VnishScript(token_uses=1)
    adapter = VNish(plate())
    async with JsonServer(script).serving() as server:
        await adapter.read()
        await adapter.change(point("sleep", 25))

    assert script.state == "stopped"
    assert server.lines.count("POST /api/v1/mining/stop") == 2


@pytest.mark.socket
@remapped
async def test_a_machine_that_accepts_no_token_is_asked_twice_and_no_more() -> None:
    script = VnishScript(token_uses=0)
    adapter = VNish(plate())
    async with JsonServer(script).serving() as server:
        with pytest.raises(DriverError, match="token") as error:
            await adapter.change(point("sleep", 25))

    assert server.lines.count("POST /api/v1/mining/stop") == script.unlocks == 2
    assert not isinstance(error.value, RefusedError)


@pytest.mark.socket
@remapped
async def test_a_wrong_password_is_a_refusal_that_says_so() -> None:
    adapter = VNish(plate(password=SecretStr("not it")))
    async with JsonServer(VnishScript()).serving():
        with pytest.raises(RefusedError, match="password"):
            await adapter.read()


@pytest.mark.socket
@remapped
async def test_to_sleep_takes_one_request() -> None:
    heard, error = await told(VnishScript(), point("sleep", 25))

    assert error is None
    assert heard == ["POST mining/stop"]


@pytest.mark.socket
@remapped
async def test_a_machine_that_refuses_to_stop_because_it_stands_has_done_what_was_asked() -> None:
    _, stands = await told(VnishScript("stopped"), point("sleep", 25))
    script = VnishScript("mining")
    script.refuses = {"mining/stop"}
    _, hashes = await told(script, point("sleep", 25))

    assert stands is None
    assert isinstance(hashes, RefusedError)


@pytest.mark.socket
@remapped
async def test_a_preset_is_set_with_all_that_was_beside_it() -> None:
    script = VnishScript()

    heard, error = await told(script, point("2100", 2100))

    assert error is None
    assert heard == ["GET summary", "GET settings", "POST settings"]
    assert script.overclock == {"preset": "2100", "globals": {"volt": 1380}}


@pytest.mark.socket
@remapped
async def test_the_firmwares_own_switcher_is_switched_off_when_a_preset_is_set() -> None:
    script = VnishScript(preset="2100")
    script.overclock["preset_switcher"] = SWITCHER

    await told(script, point("2100", 2100))

    assert script.overclock["preset_switcher"] == SWITCHER | {"enabled": False}


@pytest.mark.socket
@remapped
async def test_mining_is_restarted_where_the_preset_takes_effect_only_then() -> None:
    script = VnishScript()
    script.result = {"restart_required": True, "reboot_required": False}

    heard, _ = await told(script, point("2100", 2100))

    assert heard[-1] == "POST mining/restart"


@pytest.mark.socket
@remapped
async def test_a_preset_that_waits_for_a_reboot_is_not_said_to_be_set() -> None:
    script = VnishScript()
    script.result = {"restart_required": False, "reboot_required": True}

    _, error = await told(script, point("2100", 2100))

    assert error is not None
    assert "reboot" in str(error)


@pytest.mark.parametrize("lost", ["settings", "mining/restart"])
@pytest.mark.socket
@remapped
async def test_a_restart_that_got_lost_is_made_up_for_by_the_next_order(lost: str) -> None:
    script = VnishScript()
    script.result = {"restart_required": True, "reboot_required": False}
    script.loses = lost
    adapter = VNish(plate())
    async with JsonServer(script).serving() as server:
        await adapter.hello()
        with pytest.raises(DriverError):
            await adapter.change(point("2100", 2100))
        script.loses = ""
        restarts = server.lines.count("POST /api/v1/mining/restart")

        await adapter.change(point("2100", 2100))
        await adapter.change(point("2100", 2100))

    assert script.overclock["preset"] == "2100"
    assert server.lines.count("POST /api/v1/mining/restart") == restarts + 1


@pytest.mark.parametrize("has_status", [True, False])
@pytest.mark.socket
@remapped
async def test_a_machine_that_owes_a_restart_shows_what_it_runs_at_and_not_what_was_chosen(
    has_status: bool,
) -> None:
    script = VnishScript()
    script.has_status = has_status
    script.result = {"restart_required": True, "reboot_required": False}
    script.refuses = {"mining/restart"}
    adapter = VNish(plate())
    async with JsonServer(script).serving():
        await adapter.hello()
        before = await adapter.read()
        with pytest.raises(RefusedError):
            await adapter.change(point("2100", 2100))
        owing = await adapter.read()
        script.refuses = set()
        await adapter.change(point("2100", 2100))
        after = await adapter.read()

    settings = [taken.reading.setting for taken in (before, owing, after)]
    assert settings == [Limit(Power(2950)), Limit(Power(2950)), Limit(Power(2100))]


@pytest.mark.socket
@remapped
async def test_a_restart_that_somebody_else_owes_or_makes_good_is_seen() -> None:
    script = VnishScript()
    adapter = VNish(plate())
    async with JsonServer(script).serving():
        await adapter.hello()
        await adapter.read()
        script.overclock, script.owes = {"preset": "2100"}, True
        owing = await adapter.read()
        script.owes = False
        after = await adapter.read()

    assert owing.reading.setting == Limit(Power(2950))
    assert after.reading.setting == Limit(Power(2100))


@pytest.mark.socket
@remapped
async def test_nobody_knows_what_a_machine_runs_at_that_was_met_owing_a_restart() -> None:
    script = VnishScript(preset="2100")
    script.owes = True
    adapter = VNish(plate())
    async with JsonServer(script).serving():
        await adapter.hello()
        met = await adapter.read()
        script.state = "stopped"
        await adapter.read()
        script.state = "mining"
        started = await adapter.read()

    assert met.reading.setting == NO_LIMIT
    assert started.reading.setting == Limit(Power(2100))


@pytest.mark.socket
@remapped
async def test_a_preset_that_waits_for_a_reboot_is_not_said_to_be_set_at_the_second_order_either() -> None:
    script = VnishScript()
    script.result = {"restart_required": False, "reboot_required": True}
    adapter = VNish(plate())
    async with JsonServer(script).serving():
        await adapter.hello()
        for _ in ("the first", "the second"):
            with pytest.raises(DriverError, match="reboot"):
                await adapter.change(point("2100", 2100))


@pytest.mark.socket
@remapped
async def test_a_stopped_machine_is_started_only_after_its_preset_is_set() -> None:
    heard, error = await told(VnishScript("stopped"), point("2100", 2100))

    assert error is None
    assert heard[-2:] == ["POST settings", "POST mining/start"]


@pytest.mark.parametrize(
    ("current", "wanted", "awake"),
    [
        ("2950", point("2100", 2100), False),
        ("2100", point("2950", 2950), True),
        ("disabled", point("2100", 2100), False),
    ],
)
@pytest.mark.socket
@remapped
async def test_a_machine_that_refuses_a_preset_asleep_is_woken_only_into_one_that_draws_no_more(
    current: str, wanted: OperatingPoint, awake: bool
) -> None:
    script = VnishScript("stopped", preset=current)
    script.read_only = True

    _, error = await told(script, wanted)

    assert (script.state == "mining") is awake
    assert (error is None) is awake
