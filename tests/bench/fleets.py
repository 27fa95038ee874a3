"""Large sites by seed, as the allocation sees them: four levels of limits, ASICs, GPUs, costs of a change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.decide.allocate import Menu
from controller.decide.tree import Tree, sum_up, tree_of
from controller.domain.site import Node, Site

PER_TRANSFORMER, PER_PDU, PER_BREAKER = 1_000, 40, 8
TIGHT, DERATED, STUCK, GPUS = 0.30, 0.08, 0.03, 0.20
OFF_W = 20
START_S, RETUNE_S, HORIZON_S = 120.0, 20.0, 900.0
USD_PER_THS_DAY, USD_PER_KWH = 0.05, 0.04

Points = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """`room_w` is per node of `tree`, for the devices below it."""

    menu: Menu
    room_w: NDArray[np.int64]
    tree: Tree


def fleet(devices: int, seed: int) -> Instance:
    """80 % ASICs and 20 % GPUs; 30 % of nodes bind; the site may draw 35 to 85 % of what everything wants."""
    draw = np.random.default_rng(seed)
    tree, leaf = _tree(devices)
    menu = _menu(leaf, [_device(draw) for _ in range(devices)])
    wanted = _below(tree, menu, menu.watts[menu.start[1:] - 1])
    share = np.where(draw.random(len(tree.ids)) < TIGHT, draw.uniform(0.5, 0.9, len(tree.ids)), 1.2)
    share[0] = draw.uniform(0.35, 0.85)
    room_w = np.maximum((wanted * share).astype(np.int64), _below(tree, menu, menu.watts[menu.start[:-1]]))
    return Instance(menu=menu, room_w=room_w, tree=tree)


def breakers_only(devices: int, seed: int) -> Instance:
    """The worst case for whole steps: machines are on or off, and every breaker binds, and only those do."""
    draw = np.random.default_rng(seed)
    tree, leaf = _tree(devices)
    watts = draw.integers(2_800, 3_800, devices)
    value = watts / draw.uniform(17, 34, devices) * USD_PER_THS_DAY / 24 * 1.5
    points = [(np.array([OFF_W, w]), np.array([0.0, v])) for w, v in zip(watts, value, strict=True)]
    menu = _menu(leaf, points)
    wanted = _below(tree, menu, menu.watts[menu.start[1:] - 1])
    breakers = np.zeros(len(tree.ids), bool)
    breakers[leaf] = True
    share = np.where(breakers, draw.uniform(0.5, 0.9, len(tree.ids)), 1.2)
    return Instance(menu=menu, room_w=(wanted * share).astype(np.int64), tree=tree)


def _tree(devices: int) -> tuple[Tree, NDArray[np.intp]]:
    """The tree, and the breaker that each device stands behind."""
    nodes = [Node(id="site")]
    for size, name, above in (
        (PER_TRANSFORMER, "transformer", None),
        (PER_PDU, "pdu", ("transformer", PER_TRANSFORMER)),
        (PER_BREAKER, "breaker", ("pdu", PER_PDU)),
    ):
        for at in range(-(-devices // size)):
            parent = f"{above[0]}{at * size // above[1]}" if above else "site"
            nodes.append(Node(id=f"{name}{at}", parent=parent))
    tree = tree_of(Site(name="bench", nodes=tuple(nodes)))
    leaf = tree.index["breaker0"] + np.arange(devices, dtype=np.intp) // PER_BREAKER
    return tree, leaf


def _below(tree: Tree, menu: Menu, per_device: NDArray[np.int64]) -> NDArray[np.int64]:
    own = np.zeros(len(tree.ids), np.int64)
    np.add.at(own, menu.node, per_device)
    return sum_up(tree, own)


def _menu(node: NDArray[np.intp], devices: list[Points]) -> Menu:
    start = np.zeros(len(devices) + 1, np.intp)
    np.cumsum([len(watts) for watts, _ in devices], out=start[1:])
    return Menu(
        node=node,
        start=start,
        watts=np.concatenate([watts for watts, _ in devices]).astype(np.int64),
        values=np.concatenate([values for _, values in devices]),
    )


def _device(draw: np.random.Generator) -> Points:
    watts, output = _gpu(draw) if draw.random() < GPUS else _asic(draw)
    now = int(draw.integers(len(watts)))
    lost_s = np.full(len(watts), START_S if now == 0 and output[0] == 0 else RETUNE_S)
    lost_s[now] = 0.0
    values = output * (1 - lost_s / HORIZON_S) - watts / 1000 * USD_PER_KWH
    turn = draw.random()
    if turn < STUCK:
        return watts[now : now + 1], np.zeros(1)
    if turn < STUCK + DERATED:
        kept = max(1, int(np.searchsorted(watts, watts[-1] * draw.uniform(0.5, 0.9))))
        return watts[:kept], values[:kept]
    return watts, values


def _asic(draw: np.random.Generator) -> Points:
    """Off, then three modes or twelve watt targets; USD per hour of hash rate, as W^0.75 to W^0.82."""
    rated_w, joules_per_th = draw.uniform(2_800, 3_800), draw.uniform(15, 34)
    shares = np.array([0.65, 1.0, 1.15]) if draw.random() < 0.5 else np.linspace(0.5, 1.1, 12)
    watts = np.rint(rated_w * shares).astype(np.int64)
    rate_ths = rated_w / joules_per_th * (watts / rated_w) ** draw.uniform(0.75, 0.82)
    return (
        np.concatenate([[OFF_W], watts]),
        np.concatenate([[0.0], rate_ths * USD_PER_THS_DAY / 24]),
    )


def _gpu(draw: np.random.Generator) -> Points:
    """Power limits in steps of 25 W; USD per hour of throughput, which saturates."""
    lowest, highest = [(100, 300), (150, 400), (200, 700)][int(draw.integers(3))]
    watts = np.arange(lowest, highest + 1, 25, dtype=np.int64)
    usd_per_hour, bend = draw.uniform(0.8, 3.0) * highest / 700, draw.uniform(1.5, 4.0)
    return watts, usd_per_hour * (1 - np.exp(-bend * watts / highest)) / (1 - np.exp(-bend))
