"""Braiins OS+ (BOSer, gRPC on 50051): a power target in watts, pause and resume, watts that are an estimate.

Needs firmware 24.03 (API 1.0) or later: before it a machine did not tell that it was paused. Field names are
those of github.com/braiins/bos-plus-api, in the older edition that pyasic 0.79.0 brings along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import (
    SLEEP,
    Hello,
    Plate,
    RefusedError,
    Sample,
    allowed_draw,
    hottest,
    mac_address,
    number,
    points_of,
)
from drivers.asic.grpc import UNAUTHENTICATED, GrpcClient
from drivers.asic.library import bos
from drivers.asic.points import ladder
from drivers.asic.protobuf import Field
from drivers.base import DriverError

PORT = 50_051
DEFAULT_USERNAME = DEFAULT_PASSWORD = "root"

LOGIN = "AuthenticationService/Login"
DETAILS = "MinerService/GetMinerDetails"
STATS = "MinerService/GetMinerStats"
BOARDS = "MinerService/GetHashboards"
MODE = "PerformanceService/GetActivePerformanceMode"
CONSTRAINTS = "ConfigurationService/GetConstraints"
SET_TARGET = "PerformanceService/SetPowerTarget"
PAUSE = "ActionsService/PauseMining"
RESUME = "ActionsService/ResumeMining"

PAUSED = int(bos.MinerStatus.PAUSED)

MAC = Field(bos.GetMinerDetailsResponse, "mac_address")
STATUS = Field(bos.GetMinerDetailsResponse, "status")
WATTS = Field(bos.GetMinerStatsResponse, "power_stats.approximated_consumption.watt")
RATE_GHS = Field(bos.GetMinerStatsResponse, "miner_stats.real_hashrate.last_1_m.gigahash_per_second")
NOW_GHS = Field(bos.GetMinerStatsResponse, "miner_stats.real_hashrate.last_5_s.gigahash_per_second")
CHIP_C = Field(bos.GetHashboardsResponse, "hashboards.highest_chip_temp.temperature.degree_c")
BOARD_C = Field(bos.GetHashboardsResponse, "hashboards.board_temp.degree_c")
TARGET_W = Field(bos.PerformanceMode, "tuner_mode.power_target.power_target.watt")
LEAST_W = Field(bos.GetConstraintsResponse, "tuner_constraints.power_target.min.watt")
MOST_W = Field(bos.GetConstraintsResponse, "tuner_constraints.power_target.max.watt")
TAKEN_W = Field(bos.SetPowerTargetResponse, "power_target.watt")
TOKEN = Field(bos.LoginResponse, "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The four replies that make a reading, as they came."""

    details: bytes
    stats: bytes
    boards: bytes
    mode: bytes


class Braiins:
    backend: ClassVar[str] = "BOSer"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._grpc = GrpcClient(plate.host, PORT, deadline_s=plate.exchange_s)
        self._username = plate.username or DEFAULT_USERNAME
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._token: str | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        """Paused, and targets in equal steps from the lowest to the rating."""
        return ladder(plate, least_w=plate.rated_w // 2)

    async def hello(self) -> Hello:
        self.close()
        mac = mac_of(await self._ask(DETAILS, bos.GetMinerDetailsRequest()))
        constraints = await self._ask(CONSTRAINTS, bos.GetConstraintsRequest())
        return Hello(mac=mac, points=points_within(constraints, self._plate))

    async def read(self) -> Sample:
        return sample(
            Poll(
                details=await self._ask(DETAILS, bos.GetMinerDetailsRequest()),
                stats=await self._ask(STATS, bos.GetMinerStatsRequest()),
                boards=await self._ask(BOARDS, bos.GetHashboardsRequest()),
                mode=await self._ask(MODE, bos.GetPerformanceModeRequest()),
            ),
            self._plate,
        )

    async def change(self, point: OperatingPoint) -> None:
        if point.name == SLEEP:
            await self._ask(PAUSE, bos.PauseMiningRequest())
            return
        # The target first: a machine must not wake under one that is higher than it was granted.
        await self._set_target(point.power.watts)
        if is_paused(await self._ask(DETAILS, bos.GetMinerDetailsRequest())):
            await self._ask(RESUME, bos.ResumeMiningRequest())

    def close(self) -> None:
        self._token = None
        self._grpc.close()

    async def _set_target(self, watts: int) -> None:
        request = bos.SetPowerTargetRequest(
            save_action=bos.SaveAction.SAVE_AND_FORCE_APPLY, power_target=bos.Power(watt=watts)
        )
        taken_w = TAKEN_W.number(await self._ask(SET_TARGET, request))
        if taken_w != watts:
            raise DriverError(f"{SET_TARGET}: asked for {watts} W, took {taken_w}")

    async def _ask(self, method: str, request: Any) -> bytes:
        """A token lapses when it is not used for long, and no reboot leaves one: then log in once more."""
        if self._token is None:
            self._token = await self._login()
        try:
            return await self._ask_once(method, request, self._token)
        except RefusedError as refusal:
            if refusal.code != UNAUTHENTICATED:
                raise
        self._token = await self._login()
        return await self._ask_once(method, request, self._token)

    async def _ask_once(self, method: str, request: Any, token: str) -> bytes:
        return (await self._grpc.call(path(method), request, token=token)).message

    async def _login(self) -> str:
        """The token comes in the metadata, since 24.04 (API 1.1) in the message as well."""
        self._token = None
        request = bos.LoginRequest(username=self._username, password=self._password)
        try:
            answer = await self._grpc.call(path(LOGIN), request)
        except RefusedError as refusal:
            why = f"user {self._username!r} or its password is not accepted: {refusal}"
            raise RefusedError(why, refusal.code) from refusal
        token = answer.metadata.get("authorization") or TOKEN.text(answer.message)
        if not token or not isinstance(token, str):
            raise DriverError(f"{LOGIN}: success without a token")
        return token


def path(method: str) -> str:
    return f"/braiins.bos.v1.{method}"


def mac_of(details: bytes) -> str:
    """What every machine has and no empty reply does: the proof that somebody really answered."""
    mac = mac_address(MAC.text(details))
    if mac is None:
        raise DriverError("GetMinerDetails: no MAC address")
    return mac


def points_within(constraints: bytes, plate: Plate) -> tuple[OperatingPoint, ...] | None:
    """Those points whose watts the machine takes as a target; None where it does not tell its range."""
    least_w, most_w = LEAST_W.number(constraints), MOST_W.number(constraints)
    if least_w is None or most_w is None:
        return None
    points = points_of(Braiins, plate)
    usable = tuple(point for point in points if point.name == SLEEP or least_w <= point.power.watts <= most_w)
    if all(point.name == SLEEP for point in usable):
        raise DriverError(f"no point lies within the machine's {least_w} to {most_w} W")
    return usable


def is_paused(details: bytes) -> bool:
    status = STATUS.number(details)
    if status is None:
        raise DriverError("GetMinerDetails: no status; Braiins OS+ before 24.03 cannot be driven")
    return status == PAUSED


def sample(poll: Poll, plate: Plate) -> Sample:
    paused = is_paused(poll.details)
    target = power_target(poll.mode)
    rate_ths = (number(RATE_GHS.number(poll.stats)) or 0.0) / 1000
    return Sample(
        reading=Reading(
            device=plate.device,
            draw=draw(poll.stats, paused=paused, hashing=rate_ths > 0, target=target, plate=plate),
            quality=Quality.ESTIMATED,
            setting=plate.asleep if paused else target,
            rate=rate_ths,
            hottest_c=hottest([number(chip_c) for chip_c in CHIP_C.numbers(poll.boards)]),
            board_c=hottest([number(board_c) for board_c in BOARD_C.numbers(poll.boards)]),
        ),
        mac=mac_of(poll.details),
    )


def draw(stats: bytes, *, paused: bool, hashing: bool, target: Bound, plate: Plate) -> Power:
    """The machine's estimate. It tells 0 W while it starts: then it may draw all that its target allows, or
    that it hashes."""
    told_w = WATTS.number(stats)
    if told_w:
        return Power.up(told_w)
    if paused and not hashing:
        return plate.sleep.power
    now_ths = (number(NOW_GHS.number(stats)) or 0.0) / 1000
    return allowed_draw(target, now_ths, points_of(Braiins, plate), plate)


def power_target(mode: bytes) -> Bound:
    """No target where the machine is tuned to a hash rate or by hand: that limits no watts."""
    target_w = TARGET_W.number(mode)
    return NO_LIMIT if target_w is None else Limit(Power.down(target_w))
