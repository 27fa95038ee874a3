"""What a run is found guilty of, and what it is excused for."""

from __future__ import annotations

from dataclasses import dataclass, field

GAP_S = 10.0
"""A limit that is passed again so soon is the same breach."""


@dataclass(slots=True)
class Breach:
    """`excuse` is empty where it was possible to do better. `over_w` is the most it was passed by."""

    what: str
    where: str
    at_s: float
    until_s: float
    over_w: float
    excuse: str = ""

    @property
    def lasted_s(self) -> float:
        return self.until_s - self.at_s

    def __str__(self) -> str:
        excused = f", excused: {self.excuse}" if self.excuse else ""
        return (
            f"{self.what} at {self.where} from {self.at_s:.1f} s for {self.lasted_s:.1f} s, "
            f"{self.over_w:.0f} W over{excused}"
        )


@dataclass(slots=True)
class Verdict:
    breaches: list[Breach] = field(default_factory=list)
    excuses_s: dict[str, float] = field(default_factory=dict)
    """Seconds during which a limit was passed and nobody could have helped it, by why."""
    _open: dict[tuple[str, str, str], Breach] = field(default_factory=dict)

    @property
    def unexcused(self) -> list[Breach]:
        return [breach for breach in self.breaches if not breach.excuse]

    def note(
        self, now_s: float, what: str, where: str, over_w: float = 0.0, excuse: str = "", dt_s: float = 0.0
    ) -> None:
        """It was so for the last `dt_s`."""
        key = what, where, excuse
        breach = self._open.get(key)
        if breach is None or now_s - dt_s - breach.until_s > GAP_S:
            breach = Breach(what, where, now_s - dt_s, now_s, over_w, excuse)
            self._open[key] = breach
            self.breaches.append(breach)
        breach.until_s = now_s
        breach.over_w = max(breach.over_w, over_w)
        if excuse:
            told = f"{what}: {excuse}"
            self.excuses_s[told] = self.excuses_s.get(told, 0.0) + dt_s
