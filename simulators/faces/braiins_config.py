"""How a Braiins OS+ machine is set and what it lets itself be set to, over gRPC."""

from __future__ import annotations

from typing import Any

from simulators.faces.braiins_messages import celsius, v1, watts
from simulators.faces.braiins_rpc import BOARDS, RATED_HZ, Firmware
from simulators.faces.cgminer import POOL

TARGET_C, HOT_C = 60.0, 80.0
LEAST_C, MOST_C = 0.0, 200.0
STEP_W = 100
CHIP_V = (11.9, 13.4, 15.1)
MOST_FANS = 4


class BraiinsConfiguration(v1.ConfigurationServiceBase):  # type: ignore[misc]  # pyasic has no types
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    # -- what may be set --------------------------------------------------------------------------------

    async def get_constraints(self, _: Any) -> Any:
        return v1.GetConstraintsResponse(
            tuner_constraints=self._tuner(),
            cooling_constraints=self._cooling(),
            dps_constraints=self._scaling(),
            hashboards_constraints=v1.HashboardConstraints(
                hashboard_ids=[str(number) for number in range(1, BOARDS + 1)],
                enabled=v1.BooleanConstraint(default=True),
                frequency=v1.FrequencyConstraints(
                    default=v1.Frequency(hertz=float(RATED_HZ)),
                    min=v1.Frequency(hertz=50e6),
                    max=v1.Frequency(hertz=1175e6),
                ),
                voltage=v1.VoltageConstraints(
                    min=v1.Voltage(volt=CHIP_V[0]),
                    default=v1.Voltage(volt=CHIP_V[1]),
                    max=v1.Voltage(volt=CHIP_V[2]),
                ),
            ),
        )

    def _tuner(self) -> Any:
        return v1.TunerConstraints(
            power_target=self._power(self._firmware.miner.rated_w),
            hashrate_target=self._rate(self._firmware.miner.rated_w),
            enabled=v1.BooleanConstraint(default=True),
            default_mode=v1.TunerMode.POWER_TARGET,
        )

    def _cooling(self) -> Any:
        def around(default_c: float) -> Any:
            return v1.TemperatureConstraints(
                default=celsius(default_c), min=celsius(LEAST_C), max=celsius(MOST_C)
            )

        return v1.CoolingConstraints(
            default_cooling_mode=v1.CoolingMode.AUTO,
            target_temperature=around(TARGET_C),
            hot_temperature=around(HOT_C),
            dangerous_temperature=around(self._firmware.miner.group.trip_c),
            fan_speed_ratio=v1.DoubleConstraints(default=0.7, min=0.0, max=1.0),
            minimum_required_fans=v1.UInt32Constraints(default=1, min=0, max=MOST_FANS),
        )

    def _scaling(self) -> Any:
        least_w = self._firmware.miner.group.lowest_limit_w
        step = v1.PowerConstraints(default=watts(STEP_W), min=watts(STEP_W), max=watts(10 * STEP_W))
        rate_step = v1.HashrateConstraints(default=_ths(5), min=_ths(1), max=_ths(50))
        hours = v1.DurationConstraints(
            default=v1.Hours(hours=3), min=v1.Hours(hours=1), max=v1.Hours(hours=24)
        )
        return v1.DpsConstraints(
            power_step=step,
            hashrate_step=rate_step,
            min_power_target=self._power(least_w),
            min_hashrate_target=self._rate(least_w),
            shutdown_enabled=v1.BooleanConstraint(default=False),
            shutdown_duration=hours,
            enabled=v1.BooleanConstraint(default=False),
        )

    def _power(self, default_w: float) -> Any:
        miner = self._firmware.miner
        least = watts(miner.group.lowest_limit_w)
        return v1.PowerConstraints(default=watts(default_w), min=least, max=watts(miner.rated_w))

    def _rate(self, default_w: float) -> Any:
        miner = self._firmware.miner
        least, most = miner.curve(miner.group.lowest_limit_w), miner.curve(miner.rated_w)
        return v1.HashrateConstraints(default=_ths(miner.curve(default_w)), min=_ths(least), max=_ths(most))

    # -- what is set ------------------------------------------------------------------------------------

    async def get_miner_configuration(self, _: Any) -> Any:
        least_w = self._firmware.miner.group.lowest_limit_w
        return v1.GetMinerConfigurationResponse(
            pool_groups=[self._pool_group()],
            temperature=v1.CoolingConfiguration(
                minimum_required_fans=1,
                auto=v1.CoolingAutoMode(
                    target_temperature=celsius(TARGET_C),
                    hot_temperature=celsius(HOT_C),
                    dangerous_temperature=celsius(self._firmware.miner.group.trip_c),
                ),
            ),
            tuner=v1.TunerConfiguration(
                enabled=True,
                tuner_mode=v1.TunerMode.POWER_TARGET,
                power_target=watts(self._firmware.report.setting_w),
                hashrate_target=_ths(self._firmware.nominal_ths),
            ),
            dps=v1.DpsConfiguration(
                enabled=False,
                power_step=watts(STEP_W),
                hashrate_step=_ths(5),
                min_power_target=watts(least_w),
                min_hashrate_target=_ths(self._firmware.miner.curve(least_w)),
                shutdown_enabled=False,
                shutdown_duration=v1.Hours(hours=3),
            ),
            hashboard_config=self._boards(),
        )

    def _pool_group(self) -> Any:
        user = f"site.{self._firmware.miner.id}"
        only = v1.PoolConfiguration(uid="pool-0", url=POOL, user=user, password="x", enabled=True)
        return v1.PoolGroupConfiguration(uid="group-0", name="Default", quota=v1.Quota(value=1), pools=[only])

    def _boards(self) -> Any:
        frequency = v1.Frequency(hertz=float(self._firmware.hertz))
        volts = v1.Voltage(volt=CHIP_V[1])
        boards = [
            v1.HashboardConfig(id=str(number), enabled=True, frequency=frequency, voltage=volts)
            for number in range(1, BOARDS + 1)
        ]
        return v1.HashboardPerformanceConfiguration(
            global_frequency=frequency, global_voltage=volts, hashboards=boards
        )


def _ths(value: float) -> Any:
    return v1.TeraHashrate(terahash_per_second=round(value, 1))
