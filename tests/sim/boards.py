"""What NVML says of the watts of boards, and is not so: the same for minutes, in another unit or off by a
share, or the mean of a second. Limits are told as they are. Each kind has a generator of its own: other
seeds stay as they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from controller.domain.devices import DeviceKind
from tests.sim.knobs import Draw, Knob

FROZEN, MISREAD, MEAN = "gpu_frozen", "gpu_misread", "gpu_mean"
KINDS = (FROZEN, MISREAD, MEAN)
FACTORS = (0.001, 1000.0, 0.7, 1.25)
"""Milliwatts and watts mistaken for each other; a sensor that sees a quarter of the time errs by tens of
percent (arXiv 2312.02741)."""
TOGETHER = 0.2
"""How often all boards are: their driver is stuck, or its reader is another one since an update."""
OLD = 0.5
"""Share of the boards of which only a mean is told."""


def draw_boards(seed: int, draw: Draw) -> Iterator[Knob]:
    gpus = [spec.id for spec in draw.floor.specs if spec.kind is DeviceKind.GPU]
    for kind in KINDS:
        if kind in draw.on:
            yield from _of_kind(kind, replace(draw, random=random.Random(f"{seed}/{kind}")), gpus)


def _of_kind(kind: str, draw: Draw, gpus: list[str]) -> Iterator[Knob]:
    if kind == MEAN:
        for name in draw.random.sample(gpus, max(1, round(OLD * len(gpus)))):
            yield Knob(at_s=0.0, until_s=draw.calm_s, part=name, fault="mean_reads")
        return
    for at_s in draw.times(15 if kind == FROZEN else 8):
        begin_s, end_s = draw.span(at_s, 60, 900)
        fault = "frozen_reads" if kind == FROZEN else "reported_power_factor"
        value = True if kind == FROZEN else draw.random.choice(FACTORS)
        names = gpus if draw.random.random() < TOGETHER else [draw.random.choice(gpus)]
        yield from (Knob(at_s=begin_s, until_s=end_s, part=name, fault=fault, value=value) for name in names)
