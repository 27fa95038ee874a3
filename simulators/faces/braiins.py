"""Braiins OS+ on gRPC 50051: a power target, a pause, and tokens that lapse when nobody uses them.

It serves the messages that pyasic ships. Its watts are its own estimate, and 0 W while it warms up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler

from simulators.faces.braiins_config import BraiinsConfiguration
from simulators.faces.braiins_messages import celsius, shares, v1, watts, work
from simulators.faces.braiins_rpc import BOARDS, CHIPS_PER_BOARD, FAN_RPM, FANS, VERSION, Firmware
from simulators.faces.cgminer import EPOCH_S, POOL, mac_of
from simulators.physics.miner import Miner, MinerReport, MinerState

TOKEN_LIFE_S = 3600.0
MAX_TOKENS = 32
TUNED_AT = datetime.fromtimestamp(EPOCH_S, UTC)
"""When the tuner finished with the profile in force."""
LOGIN = "/braiins.bos.v1.AuthenticationService/Login"


class BraiinsGrpc:
    """Every method of every service, all but the login behind a token."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._services = [
            service(firmware)
            for service in (_Miner, _Performance, _Actions, _Cooling, _Pools, BraiinsConfiguration)
        ]
        self._tokens: dict[str, float] = {}
        self._logins = 0
        self._boots = 0

    def __mapping__(self) -> dict[str, Handler]:
        mapping = {LOGIN: Handler(self._login, Cardinality.UNARY_UNARY, v1.LoginRequest, v1.LoginResponse)}
        for service in self._services:
            for path, handler in service.__mapping__().items():
                mapping[path] = handler._replace(func=self._guarded(handler.func))
        return mapping

    async def _login(self, stream: Any) -> None:
        """The token goes out before the reply, as metadata, and in it."""
        request = await stream.recv_message()
        self._notice_boot()
        miner = self._firmware.miner
        password = miner.password("root")
        if (request.username, request.password) != ("root", password):
            raise GRPCError(Status.UNAUTHENTICATED, "Bad credentials")
        while len(self._tokens) >= MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        self._logins += 1
        token = f"{miner.serial[:8]}{self._boots:02x}{self._logins:06x}"
        self._tokens[token] = self._firmware.now_s() + TOKEN_LIFE_S
        await stream.send_initial_metadata(metadata={"authorization": token})
        await stream.send_message(v1.LoginResponse(token=token, timeout_s=int(TOKEN_LIFE_S)))

    def _guarded(self, func: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def guarded(stream: Any) -> None:
            self._check(stream.metadata.get("authorization"))
            await func(stream)

        return guarded

    def _check(self, token: str | None) -> None:
        """Each use of a token gives it its whole life again."""
        self._notice_boot()
        now_s = self._firmware.now_s()
        self._tokens = {known: until_s for known, until_s in self._tokens.items() if until_s > now_s}
        if token not in self._tokens:
            raise GRPCError(Status.UNAUTHENTICATED, "Missing or invalid authentication token")
        self._tokens[token] = now_s + TOKEN_LIFE_S

    def _notice_boot(self) -> None:
        if self._boots != self._firmware.miner.boots:
            self._boots = self._firmware.miner.boots
            self._tokens.clear()


class _Miner(v1.MinerServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    async def get_miner_details(self, _: Any) -> Any:
        miner, report = self._firmware.miner, self._firmware.report
        model = miner.group.model
        return v1.GetMinerDetailsResponse(
            uid=miner.serial,
            miner_identity=v1.MinerIdentity(
                brand=v1.MinerBrand.ANTMINER, name=model, miner_model=model.removeprefix("Antminer ")
            ),
            platform=v1.Platform.AM3_BBB,
            bos_mode=v1.BosMode.NAND,
            bos_version=v1.BosVersion(current=VERSION, major=VERSION, bos_plus=True),
            hostname=miner.id,
            mac_address=mac_of(miner.serial).lower(),
            sticker_hashrate=v1.GigaHashrate(gigahash_per_second=miner.group.rated_ths * 1000),
            bosminer_uptime_s=int(report.uptime_s),
            system_uptime_s=int(report.uptime_s),
            status=_status_of(report),
            kernel_version="5.10.0",
            psu_info=v1.PsuInfo(
                version=0x75,
                fw_version=4,
                serial_number=f"PSU{miner.serial}",
                model_name="APW121215b",
                min_voltage=v1.Voltage(volt=11.877),
                max_voltage=v1.Voltage(volt=15.182),
            ),
            control_board_soc_family=v1.ControlBoardSocFamily.BBB,
            serial_number=miner.serial,
        )

    async def get_miner_stats(self, _: Any) -> Any:
        report, estimate_w = self._firmware.report, self._firmware.estimate_w
        efficiency = estimate_w / report.rate_ths if report.rate_ths else 0.0
        return v1.GetMinerStatsResponse(
            pool_stats=shares(),
            miner_stats=work(report.rate_ths, self._firmware.nominal_ths),
            power_stats=v1.MinerPowerStats(
                approximated_consumption=watts(estimate_w),
                efficiency=v1.PowerEfficiency(joule_per_terahash=efficiency),
            ),
        )

    async def get_hashboards(self, _: Any) -> Any:
        return v1.GetHashboardsResponse(hashboards=[self._board(at) for at in range(1, BOARDS + 1)])

    def _board(self, number: int) -> Any:
        """Each is a degree cooler than the one before it; air comes in at one end and leaves at the other."""
        report = self._firmware.report
        chip = v1.TemperatureSensor(
            id=number, location=v1.SensorLocation.CHIP, temperature=celsius(report.hottest_c - (number - 1))
        )
        return v1.Hashboard(
            id=str(number),
            enabled=True,
            chips_count=CHIPS_PER_BOARD,
            current_voltage=v1.Voltage(volt=0.0 if report.asleep else 13.4),
            current_frequency=v1.Frequency(hertz=float(self._firmware.hertz)),
            highest_chip_temp=chip,
            board_temp=celsius(report.hottest_c - 14),
            stats=work(report.rate_ths / BOARDS, self._firmware.nominal_ths / BOARDS),
            model="BHB42601",
            lowest_inlet_temp=celsius(report.inlet_c),
            highest_outlet_temp=celsius(max(report.inlet_c, report.hottest_c - 20)),
            serial_number=f"{self._firmware.miner.serial}{number}",
            board_name="BHB42601",
            chip_type="BM1362",
        )

    async def get_errors(self, _: Any) -> Any:
        return v1.GetErrorsResponse()


class _Performance(v1.PerformanceServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    async def get_active_performance_mode(self, _: Any) -> Any:
        target = v1.PowerTargetMode(power_target=watts(self._firmware.report.setting_w))
        return v1.PerformanceMode(tuner_mode=v1.TunerPerformanceMode(power_target=target))

    async def get_tuner_state(self, _: Any) -> Any:
        target = watts(self._firmware.report.setting_w)
        profile = v1.PowerTargetProfile(
            created=TUNED_AT,
            target=target,
            measured_hashrate=v1.GigaHashrate(gigahash_per_second=self._firmware.nominal_ths * 1000),
            estimated_power_consumption=target,
        )
        return v1.GetTunerStateResponse(
            overall_tuner_state=v1.TunerState.STABLE,
            power_target_mode_state=v1.PowerTargetModeState(profile=profile, current_target=target),
        )

    async def set_power_target(self, request: Any) -> Any:
        miner, watts = self._firmware.miner, int(request.power_target.watt)
        _check_ready(miner)
        least_w, most_w = round(miner.group.lowest_limit_w), round(miner.rated_w)
        if not least_w <= watts <= most_w:
            allowed = f"[Some({least_w}), Some({most_w})]"
            raise GRPCError(
                Status.INVALID_ARGUMENT, f"power target [{watts}W] is not in allowed range {allowed}"
            )
        if request.save_action in (v1.SaveAction.SAVE_AND_APPLY, v1.SaveAction.SAVE_AND_FORCE_APPLY):
            miner.set_limit(float(watts))
        return v1.SetPowerTargetResponse(power_target=v1.Power(watt=watts))


class _Actions(v1.ActionsServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    async def pause_mining(self, _: Any) -> Any:
        miner, already = self._firmware.miner, self._firmware.report.asleep
        _check_ready(miner)
        miner.sleep()
        return v1.PauseMiningResponse(already_paused=already)

    async def resume_mining(self, _: Any) -> Any:
        miner, already = self._firmware.miner, not self._firmware.report.asleep
        _check_ready(miner)
        miner.wake()
        return v1.ResumeMiningResponse(already_mining=already)

    async def reboot(self, _: Any) -> Any:
        self._firmware.miner.reboot(self._firmware.now_s())
        return v1.RebootResponse()

    async def get_locate_device_status(self, _: Any) -> Any:
        return v1.LocateDeviceStatusResponse(enabled=False)


class _Cooling(v1.CoolingServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    async def get_cooling_state(self, _: Any) -> Any:
        report = self._firmware.report
        rpm, ratio = (0, 0.0) if report.asleep else (FAN_RPM, 0.8)
        hottest = celsius(report.hottest_c)
        return v1.GetCoolingStateResponse(
            fans=[v1.FanState(position=place, rpm=rpm, target_speed_ratio=ratio) for place in range(FANS)],
            highest_temperature=v1.TemperatureSensor(
                id=1, location=v1.SensorLocation.CHIP, temperature=hottest
            ),
        )


class _Pools(v1.PoolServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    async def get_pool_groups(self, _: Any) -> Any:
        alive = self._firmware.report.state is not MinerState.IDLE
        pool = v1.Pool(
            uid="pool-0",
            url=POOL,
            user=f"site.{self._firmware.miner.id}",
            enabled=True,
            alive=alive,
            active=alive,
            stats=shares(),
        )
        return v1.GetPoolGroupsResponse(
            pool_groups=[v1.PoolGroup(name="Default", quota=v1.Quota(value=1), pools=[pool])]
        )


def _check_ready(miner: Miner) -> None:
    if miner.faults.refuses:
        raise GRPCError(Status.FAILED_PRECONDITION, "Miner is not ready")


def _status_of(report: MinerReport) -> Any:
    if report.asleep:
        return v1.MinerStatus.PAUSED
    return v1.MinerStatus.SUSPENDED if report.state is MinerState.TRIPPED else v1.MinerStatus.NORMAL
