"""What real firmware tells beside what the plant moves: shares, network, hardware versions.

Records of the faces begin with these, so that clients find the fields they want. Nothing here has a meaning.
"""

from __future__ import annotations

from types import MappingProxyType

SHARES = MappingProxyType[str, object](
    {
        "Accepted": 4210,
        "Rejected": 3,
        "Hardware Errors": 0,
        "Utility": 3.5,
        "Total MH": 451_890_758_070.0,
        "Difficulty Accepted": 829_210_624.0,
        "Difficulty Rejected": 32_768.0,
        "Last getwork": 0,
    }
)
"""Of a whole machine, in the words that cgminer left to most of them."""

DEVICE_SHARES = MappingProxyType[str, object](
    {
        "Accepted": 1403,
        "Rejected": 1,
        "Hardware Errors": 0,
        "Utility": 3.5,
        "Last Share Pool": 0,
        "Last Share Time": 0,
        "Total MH": 150_630_252_690.0,
        "Diff1 Work": 41_775_104,
        "Difficulty Accepted": 276_403_541.0,
        "Difficulty Rejected": 10_922.0,
        "Last Share Difficulty": 262_144.0,
        "Last Valid Work": 0,
        "Device Hardware%": 0.0,
        "Device Rejected%": 0.07,
        "Device Elapsed": 0,
    }
)
"""Of one of its boards."""

POOL_SHARES = MappingProxyType[str, object](
    {
        "Quota": 1,
        "Long Poll": "N",
        "Getworks": 27,
        "Accepted": 4210,
        "Rejected": 3,
        "Works": 41_775_104,
        "Discarded": 0,
        "Stale": 0,
        "Get Failures": 0,
        "Remote Failures": 0,
        "Last Share Time": 0,
        "Diff1 Shares": 0,
        "Proxy Type": "",
        "Proxy": "",
        "Difficulty Accepted": 829_210_624.0,
        "Difficulty Rejected": 32_768.0,
        "Difficulty Stale": 0.0,
        "Last Share Difficulty": 262_144.0,
        "Has Stratum": True,
        "Has GBT": False,
        "Best Share": 19_649_871,
        "Pool Rejected%": 0.07,
        "Pool Stale%": 0.0,
        "Bad Work": 0,
        "Current Block Height": 900_000,
        "Current Block Version": 536_870_912,
    }
)
"""Of one of its pools, as cgminer lists them."""

WHATSMINER_SUMMARY = MappingProxyType[str, object](
    {
        "Accepted": 804,
        "Rejected": 0,
        "Total MH": 225_043_191_209.0,
        "freq_avg": 620,
        "Pool Rejected%": 0.0,
        "Pool Stale%": 0.0,
        "Last getwork": 0,
        "Security Mode": 0,
        "Hash Stable": True,
        "Hash Stable Cost Seconds": 1200,
        "Hash Deviation%": 0.1,
        "Debug": "-0.0_100.0_354",
        "Btminer Fast Boot": "disable",
    }
)

WHATSMINER_DEVICE = MappingProxyType[str, object](
    {
        "Chip Frequency": 620,
        "Accepted": 268,
        "Rejected": 0,
        "Last Valid Work": 0,
        "Upfreq Complete": 1,
        "Chip Data": "K44A000-2200 BINV01-000000A",
        "chip_vol_diff": 9,
    }
)

WHATSMINER_PSU = MappingProxyType[str, object](
    {
        "hw_version": "V01.00",
        "sw_version": "V01.00.V01.03",
        "iin": "14200",
        "version": "-1",
        "serial_no": "A0000B0000000000",
        "vender": "7",
    }
)

V3_MINER = MappingProxyType[str, object](
    {
        "hash-board": "K40",
        "detect-hash-rate": "0:0:0:0",
        "pool-strategy": "FAILOVER",
        "heatmode": "",
        "hash-percent": "",
        "eeprom-liquid-cooling": "0-0-0",
        "chipdata0": "K40A00-24000000 BINV01-000000A",
        "chipdata1": "K40A00-24000000 BINV01-000000A",
        "chipdata2": "K40A00-24000000 BINV01-000000A",
        "fast-boot": "disable",
        "board-num": "3",
        "web-pool": 1,
    }
)

V3_SYSTEM = MappingProxyType[str, object]({"control-board-version": "CB6V10", "btrom": "1", "apiswitch": "1"})

V3_NETWORK = MappingProxyType[str, object]({"dns": "127.0.0.254", "gateway": "127.0.0.254"})

V3_POWER = MappingProxyType[str, object](
    {
        "mode": "1",
        "hwversion": "R00033",
        "swversion": "20240101_P00000.20240101_S00000",
        "model": "P22-12-3300-C",
        "sn": "0000A0000000000",
        "vendor": "1",
        "iin": 14.8,
        "vin": 220.5,
        "vout": 1209,
        "temp0": 41.3,
    }
)

ANTMINER_CONF = MappingProxyType[str, object](
    {
        "api-network": True,
        "api-groups": "A:stats:pools:devs:summary:version",
        "bitmain-freq": "550",
        "bitmain-voltage": "1320",
        "bitmain-ccdelay": "0",
        "bitmain-pwth": "0",
    }
)

AVALON_MODULE = MappingProxyType[str, object](
    {
        "MEMFREE": "1392832.1138104",
        "NETFAIL": "0 0 0 0 0 0 0 0",
        "BOOTBY": "0x04.00000000",
        "LW": 714_031,
        "MH": "0 0 0",
        "DHW": 0,
        "HW": 0,
        "DH": "1.299%",
        "Vo": 296,
        "DHspd": "1.299%",
        "WU": "2570548.05",
        "Freq": "345.94",
        "MVavg": "285.7 286.3 285.8",
        "PING": 21,
        "POWS": 0,
        "EEPROM": "160 160 160",
        "HASHS": "0 0 0",
        "POOLS": 0,
        "ECMM": 0,
        **{f"SF{board}": "300 318 339 360" for board in range(3)},
        "CRC": "0 0 0",
        "COMCRC": "0 0 0",
        "ADJ": 1,
        "COP": "0 0 0",
        "MVL": 87,
    }
)
