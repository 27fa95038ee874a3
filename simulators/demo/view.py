"""What a person sees while the demo runs: meter, cap, hashing, GPUs, events, and why."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simulators.demo.watch import Sight

BAR_WIDTH = 44


def view(sight: Sight, chapter: str, full_w: float) -> RenderableType:
    """The whole screen. `full_w` is the power at the right end of the bars."""
    return Group(
        Panel(_power(sight, full_w), title=f"wattshift demo, {sight.now_s:.0f} s: {chapter}", expand=False),
        _why(sight),
        Text("\n".join(sight.news)),
    )


def line(sight: Sight, chapter: str) -> str:
    """The same in one line, for where there is no terminal."""
    truth, cap = sight.truth, _cap_w(sight)
    shown = f"{cap / 1000:6.1f}" if cap is not None else "  none"
    power = (truth.get(key, 0.0) / 1000 for key in ("site_power_w", "miner_power_w", "gpu_power_w"))
    site, miners, gpus = power
    why = ", ".join(f"{count} {kind} {reason}" for (kind, reason), count in sorted(sight.reasons().items()))
    kilowatts = f"site {site:6.1f} kW  cap {shown}  hashing {miners:6.1f}  GPU {gpus:4.1f}"
    return f"{sight.now_s:6.1f} s  {kilowatts}  {chapter}: {why}"


def _power(sight: Sight, full_w: float) -> Table:
    truth, cap_w = sight.truth, _cap_w(sight)
    table = Table.grid(padding=(0, 2))
    rows = [("site (true)", truth.get("site_power_w", 0.0), "green")]
    if (metered_w := _metered_w(sight)) is not None:
        rows.append(("meter", metered_w, "blue"))
    if cap_w is not None:
        rows.append(("cap", cap_w, "red"))
    rows += [
        ("hashing", truth.get("miner_power_w", 0.0), "yellow"),
        ("GPUs", truth.get("gpu_power_w", 0.0), "cyan"),
    ]
    for name, watts, style in rows:
        bar = ProgressBar(total=full_w, completed=min(watts, full_w), width=BAR_WIDTH, complete_style=style)
        table.add_row(name, bar, f"{watts / 1000:7.1f} kW")
    cap = sight.status.get("cap", {})
    table.add_row("", Text(f"cap set by {cap.get('reason', '?')} {cap.get('event', '')}"), "")
    hashing = f"{truth.get('rate_ths', 0.0):.0f} TH/s"
    table.add_row("", Text(f"{hashing}, {_busy(sight)} GPUs busy, {len(sight.lied)} liars found"), "")
    return table


def _why(sight: Sight) -> Table:
    table = Table("kind", "why", "devices", box=None)
    for (kind, reason), count in sorted(sight.reasons().items()):
        table.add_row(kind, reason, str(count))
    return table


def _busy(sight: Sight) -> int:
    return sum(gpu["demand_w"] > 200 for gpu in sight.truth.get("gpus", {}).values())


def _metered_w(sight: Sight) -> float | None:
    nodes = sight.status.get("nodes")
    watts = nodes[0]["metered_w"] if nodes else None
    return None if watts is None else float(watts)


def _cap_w(sight: Sight) -> float | None:
    watts = sight.status.get("cap", {}).get("watts")
    return None if watts is None else float(watts)
