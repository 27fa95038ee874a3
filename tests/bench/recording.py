"""What recording a tick costs: bytes on the disk and CPU, on a site of many miners that are polled in turn.

    python -m tests.bench.recording [--devices N] [--ticks N]

Every reading is noisy, and stamped to the microsecond: this is the most that a site of this size can say.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import (
    DeviceKind,
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Quality,
    Reading,
)
from controller.domain.power import Limit, Power
from controller.domain.site import Node, Site
from controller.run.recording.tickstream import StreamWriter, Tick
from controller.run.recording.told import told

POLL_S = 5
PER_NODE = 50
UTC_S = 1_800_000_000.0


def site_of(devices: int) -> tuple[Site, tuple[DeviceSpec, ...]]:
    nodes = [Node(id="site", limit=Limit(Power(devices * 3000)), meter="main")]
    nodes += [Node(id=f"pdu-{at:03d}", parent="site") for at in range(-(-devices // PER_NODE))]
    points = tuple(
        OperatingPoint(name=f"{at * 10}%", power=Power(at * 350), rate=at * 20.0) for at in range(5, 11)
    )
    specs = tuple(
        DeviceSpec(
            id=f"asic-{at:05d}",
            kind=DeviceKind.ASIC,
            node=f"pdu-{at // PER_NODE:03d}",
            points=points,
            ceiling=Power(3700),
        )
        for at in range(devices)
    )
    return Site(name="bench", nodes=tuple(nodes)), specs


def ticks_of(site: Site, specs: tuple[DeviceSpec, ...], ticks: int) -> Iterator[tuple[State, Inputs, Plan]]:
    noise = random.Random(1)
    state, readings = State(), dict[str, Sample[Reading]]()
    for tick in range(ticks):
        now_s = 86_400.0 + tick + noise.uniform(0, 0.002)
        for spec in specs[tick % POLL_S :: POLL_S]:
            reading = Reading(
                device=spec.id,
                draw=Power.up(noise.gauss(3450, 20)),
                quality=Quality.MEASURED,
                setting=Limit(Power(3500)),
                rate=round(noise.gauss(200, 2), 2),
                hottest_c=round(noise.gauss(71, 1), 1),
            )
            readings[spec.id] = Sample(now_s - noise.random(), reading)
        meter = MeterReading(meter="main", power=Power.up(noise.gauss(len(specs) * 2900, 500)))
        inputs = Inputs(
            now_s=now_s,
            utc_s=UTC_S + now_s,
            specs=specs,
            readings=dict(readings),
            meters={"main": Sample(now_s - noise.random(), meter)},
            prices=site.prices,
        )
        before = state
        state, plan = step(site, before, inputs)
        yield before, inputs, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--ticks", type=int, default=120)
    options = parser.parse_args()
    site, specs = site_of(options.devices)
    writer: StreamWriter | None = None
    sizes, costs_ms = [], []
    for before, inputs, plan in ticks_of(site, specs, options.ticks):
        began_s = time.process_time()
        writer = writer or StreamWriter(site, before)
        sizes.append(len(writer.ticks([Tick(inputs=inputs, told=told(plan))])))
        costs_ms.append(1000 * (time.process_time() - began_s))
    steady = slice(options.ticks // 2, None)
    print(f"{options.devices} devices, {len(specs) // POLL_S} new readings a tick, {options.ticks} ticks")
    print(f"bytes a tick: median {statistics.median(sizes[steady]):.0f}, the first {sizes[0]}")
    print(f"CPU a tick: median {statistics.median(costs_ms[steady]):.2f} ms, the first {costs_ms[0]:.1f} ms")
    print(f"a day: {statistics.mean(sizes) * 86_400 / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
