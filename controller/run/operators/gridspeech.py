"""From the table of an operator to the dialect that is spoken with it."""

from __future__ import annotations

from collections.abc import Iterable

from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.grid.basepoint import BasePoints, StreamRule
from controller.grid.dialects import Dialect, DialectName
from controller.grid.dsx import Agreement, Feed
from controller.grid.dsxbreach import BreachRule
from controller.grid.dsxlink import DsxFlex
from controller.grid.openadrlink import OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import REPORTABLE, Contract
from controller.grid.signatures import Trust
from controller.grid.zerohundred import OffRule, ZeroHundred
from controller.run.operators.gridconfig import FeedTable, GridConfig, own_signer, trusted_keys


def dialect_of(
    config: GridConfig, *, nameplate: Power, nodes: Iterable[str], utc_s: float, observes: bool = False
) -> Dialect:
    """The dialect of `config`, for a site that is commanded or only `observes`; `ValueError` if a key cannot
    be read."""
    match config.dialect:
        case DialectName.OPENADR:
            return OpenAdr(
                Sender(client_id=config.client_id, ven=config.ven),
                contract_of(config, nameplate, nodes),
                heartbeat_s=config.heartbeat_s,
                trust=_trust(config, reader=None),
                signer=own_signer(config),
            )
        case DialectName.DSX_FLEX:
            rule = BreachRule(threshold=config.breach_percent / 100, actions=config.breach_actions)
            agreement = Agreement(
                isv=config.isv or "",
                agent=config.ven,
                feeds=tuple(_feed(table) for table in config.feeds),
                nameplate=nameplate,
                max_age_s=config.signature_max_age_s,
                ramp_deadline_s=config.feed_deadline_s,
                trust=_trust(config, reader=None),
                dated=config.signatures_dated,
                infra=config.infra or "",
                infra_trust=_infra_trust(config),
            )
            period_s = config.heartbeat_s
            signer = own_signer(config)
            return DsxFlex(agreement, period_s=period_s, rule=rule, signer=signer, observes=observes)
        case DialectName.ZERO_HUNDRED:
            off = OffRule(
                off=Power.kw(config.off_kw or 0.0),
                stale_s=config.stale_s,
                ramp_deadline_s=config.target_deadline_s,
            )
            trust = _trust(config, reader=config.ven)
            return ZeroHundred(config.topic_in or "", off, began_utc_s=utc_s, trust=trust)
        case DialectName.BASE_POINT:
            stream = StreamRule(
                nameplate=nameplate,
                valid_s=config.valid_s,
                silent=_bound(config.silent_kw),
                ramp_deadline_s=config.target_deadline_s,
                priority=config.priority,
                rights=config.rights,
            )
            return BasePoints(config.topic_in or "", stream, trust=_trust(config, reader=config.ven))


def contract_of(config: GridConfig, nameplate: Power, nodes: Iterable[str]) -> Contract:
    return Contract(
        ven=config.ven,
        nameplate=nameplate,
        names=frozenset(config.names),
        nodes=frozenset(nodes),
        rights=config.rights,
        follows_relative=config.relative_setpoints,
        report_every_s=config.report_period_s,
        reported=REPORTABLE if config.baseline is None else REPORTABLE | {"BASELINE"},
        ramp_deadline_s=config.ramp_deadline_s,
        levels={level: Power.kw(kw) for level, kw in config.levels_kw.items()},
        offsets={offset: Power.kw(kw) for offset, kw in config.offsets_kw.items()},
        instructions={word: Power.kw(kw) for word, kw in config.instructions_kw.items()},
        alerts={alert: Power.kw(kw) for alert, kw in config.alerts_kw.items()},
    )


def _trust(config: GridConfig, *, reader: str | None) -> Trust | None:
    keys = trusted_keys(config.signed_by)
    return Trust(keys=keys, max_age_s=config.signature_max_age_s, reader=reader) if keys else None


def _infra_trust(config: GridConfig) -> Trust | None:
    keys = trusted_keys(config.infra_signed_by, "infra_signed_by")
    return Trust(keys=keys, max_age_s=config.signature_max_age_s) if keys else None


def _feed(table: FeedTable) -> Feed:
    default_kw = table.maximum_kw if table.default_kw is None else table.default_kw
    return Feed(
        tag=table.tag,
        node=table.node,
        minimum=Power.kw(table.minimum_kw),
        maximum=Power.kw(table.maximum_kw),
        default=Power.kw(default_kw),
    )


def _bound(kilowatts: float | None) -> Bound:
    return NO_LIMIT if kilowatts is None else Limit(Power.kw(kilowatts))
