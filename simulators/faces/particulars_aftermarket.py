"""What other makers' firmware tells beside what the plant moves, as `particulars` for the machines' own."""

from __future__ import annotations

from types import MappingProxyType

from simulators.faces.particulars import DEVICE_SHARES, SHARES

LUXOS_CONFIG = MappingProxyType[str, object](
    {
        "ASC Count": 3,
        "ActualPowerTarget": 0,
        "BcastAddr": "127.255.255.255",
        "ControlBoardType": "AM335X",
        "Cooling": "Air",
        "DHCP": True,
        "DNS Servers": "",
        "Device Code": "",
        "FPGABuildIdHex": "0",
        "FPGABuildIdStr": "",
        "FeeStatus": "",
        "Gateway": "127.0.0.254",
        "GreenLed": "on",
        "Hotplug": "None",
        "IdealPowerTarget": 0,
        "ImmersionMode": False,
        "IsPowerTargetEnabled": False,
        "IsSingleVoltage": True,
        "IsTuning": False,
        "Log Interval": 5,
        "LogFileLevel": "info",
        "Netmask": "255.0.0.0",
        "OS": "Linux",
        "PGA Count": 0,
        "PIC": "",
        "PSUHwVersion": "0x75",
        "PSULabel": "APW12",
        "Pool Count": 1,
        "PowerLimit": 0,
        "Strategy": "Failover",
        "UpdateOnStartup": "false",
        "UpdateOnTimeout": "false",
        "UpdateOnUser": "true",
        "UpdateSource": "",
        "UpdateTimeout": 0,
    }
)

LUXOS_SUMMARY = MappingProxyType[str, object](
    {
        **SHARES,
        "Best Session Share": 19_649_871,
        "Best Share": 19_649_871,
        "Difficulty Stale": 0.0,
        "Discarded": 0,
        "Getworks": 27,
        "Pool Rejected%": 0.07,
        "Pool Stale%": 0.0,
        "Stale": 0,
        "Work Utility": 2_570_548.05,
    }
)

LUXOS_STATS = MappingProxyType[str, object](
    {
        "STATS": 0,
        "ID": "LUX0",
        "Calls": 0,
        "Wait": 0,
        "Max": 0,
        "Min": 99_999_999,
        "Mode": 2,
        "rate_unit": "GH",
        "no_matching_work": 0,
        "miner_version": "LUX",
        **{f"temp_{part}4": "0-0-0-0" for part in ("pcb", "chip", "pic")},
        "chain_acn4": 0,
        "chain_acs4": "",
        "chain_hw4": 0,
        "chain_rate4": "",
        "freq4": 0,
    }
)
"""With the fourth board that none of them has."""

LUXOS_DEVICE = MappingProxyType[str, object](
    {
        **DEVICE_SHARES,
        "ControllerIPVersionHex": "0",
        "ControllerIPVersionStr": "",
        "Hardware Error MHS 15m": 0,
        "IsRamping": False,
        "IsUserShutdown": False,
        "Name": "LUX",
    }
)

BOS_SUMMARY = MappingProxyType[str, object](
    {
        **SHARES,
        "Best Share": 19_649_871,
        "Device Hardware%": 0.0,
        "Device Rejected%": 0.07,
        "Difficulty Stale": 0.0,
        "Discarded": 0,
        "Found Blocks": 0,
        "Get Failures": 0,
        "Getworks": 27,
        "Local Work": 41_775_104,
        "Network Blocks": 0,
        "Pool Rejected%": 0.07,
        "Pool Stale%": 0.0,
        "Remote Failures": 0,
        "Stale": 0,
        "Work Utility": 2_570_548.05,
    }
)

BOS_DEVICE = MappingProxyType[str, object]({**DEVICE_SHARES, "Name": "", "Temperature": 0.0})

BOS_TUNER_CHAIN = MappingProxyType[str, object](
    {"Iteration": 0, "LoadedProfileCreatedOn": 1_780_000_000, "StageElapsed": 600, "TuningElapsed": 3600}
)

MARA_STATS = MappingProxyType[str, object](
    {**LUXOS_STATS, "ID": "BTM_SOC0", "miner_version": "uart_trans.1.3", "fan_num": 4, "temp_num": 3}
)

MARA_SUMMARY = MappingProxyType[str, object]({**SHARES, "Best Share": 19_649_871})

VNISH_BUILD = MappingProxyType[str, str](
    {
        "fw_name": "Vnish",
        "build_uuid": "00000000-0000-4000-8000-000000000000",
        "build_name": "AnthillOS",
        "build_time": "2026-01-12 10:30:22",
        "platform": "xil",
        "install_type": "nand",
        "algorithm": "sha256d",
        "hr_measure": "GH/s",
    }
)

VNISH_POOL = MappingProxyType[str, object](
    {
        "asic_boost": True,
        "diff": "262K",
        "accepted": 4210,
        "rejected": 3,
        "stale": 0,
        "ls_diff": 262_144.0,
        "ls_time": "0:00:09",
        "diffa": 829_210_624.0,
        "ping": 20,
    }
)

VNISH_SWITCHER = MappingProxyType[str, object](
    {
        "enabled": False,
        "top_preset": None,
        "min_preset": None,
        "rise_temp": 55,
        "decrease_temp": 75,
        "check_time": 300,
        "autochange_top_preset": False,
        "ignore_fan_speed": False,
        "power_delta": 0,
    }
)

VNISH_MISC = MappingProxyType[str, object](
    {
        "asic_boost": True,
        "restart_hashrate": 0,
        "restart_temp": 0,
        "disable_restart_unbalanced": False,
        "disable_chain_break_protection": False,
        "max_restart_attempts": 0,
        "quick_start": False,
        "higher_volt_offset": 0,
        "remain_stopped_on_reboot": False,
        "ignore_broken_sensors": False,
        "disable_volt_checks": False,
        "quiet_mode": False,
        "max_startup_delay_time": 0,
        "min_operational_chains": 0,
    }
)

VNISH_RPC_SUMMARY = MappingProxyType[str, object](
    {
        **SHARES,
        "Found Blocks": 0,
        "Getworks": 27,
        "Discarded": 0,
        "Stale": 0,
        "Get Failures": 0,
        "Local Work": 41_775_104,
        "Remote Failures": 0,
        "Network Blocks": 549,
        "Work Utility": 2_570_548.05,
        "Difficulty Stale": 0.0,
        "Best Share": 19_649_871,
        "Device Hardware%": 0.0,
        "Device Rejected%": 0.07,
        "Pool Rejected%": 0.07,
        "Pool Stale%": 0.0,
        "Fee Percent": 2.8,
    }
)
