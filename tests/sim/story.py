"""A seed told as a story: what happened around a moment, line by line, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from controller.decide.plan import Plan
from controller.domain.power import Limit
from simulators.physics.miner import Miner
from simulators.plant import Plant

MOST_COMMANDS, MOST_ALARMS = 16, 6


def plan_line(plan: Plan, plant: Plant, due_w: float, usable_w: float) -> str:
    cap = f"{plan.cap.power.watts} W" if isinstance(plan.cap, Limit) else "no cap"
    root = plan.nodes[0]
    metered = root.metered.watts if root.metered is not None else "-"
    told = [f"{command.device}->{command.point.name}" for command in plan.commands]
    alarms = sorted(f"{alarm.kind.value}({alarm.subject})" for alarm in plan.alarms)
    return (
        f"draws {plant.site_power_w:.0f} of {cap} by {plan.cap_reason}, due {due_w:.0f}, "
        f"usable {usable_w:.0f}, granted {root.granted.watts}, worst {root.worst.watts}, "
        f"other {root.unexplained.watts}, metered {metered}; tells {_some(told, MOST_COMMANDS)}; "
        f"alarms {_some(alarms, MOST_ALARMS)}"
    )


def node_lines(plan: Plan, plant: Plant, node: str) -> Iterator[str]:
    """Everything below a node: what is true of it, and what the plan believes."""
    below = {node}
    for place in plant.nodes.values():
        if place.parent is not None and place.parent.id in below:
            below.add(place.id)
    for state in plan.nodes:
        if state.node in below:
            limit = state.limit.power.watts if isinstance(state.limit, Limit) else "-"
            metered = state.metered.watts if state.metered is not None else "-"
            yield (
                f"  {state.node}: {plant.node_power_w(state.node):.0f} W of {limit}, granted "
                f"{state.granted.watts}, worst {state.worst.watts}, other {state.unexplained.watts} "
                f"(truly {plant.nodes[state.node].load_w:.0f}), metered {metered}"
            )
    for grant in plan.grants:
        machine = plant.machines[grant.device]
        if machine.node in below:
            doing = machine.state.value if isinstance(machine, Miner) else f"at {machine.cap_w:.0f}"
            yield (
                f"    {grant.device}: {machine.watts:.0f} W {doing}, told {grant.point.name}, {grant.truth}, "
                f"worst {grant.worst.watts}, says {grant.draw.watts}, {grant.age_s:.1f} s old, {grant.reason}"
            )


def _some(items: list[str], most: int) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return (", ".join(items[:most]) or "nothing") + more
