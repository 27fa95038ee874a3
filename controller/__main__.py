"""The `wattshift` command."""

from __future__ import annotations

import json
import math
import os
import sys
import urllib.parse
from pathlib import Path
from typing import Annotated

import typer

from controller.cli import jobs
from controller.cli.api import SiteFile, Url, get
from controller.cli.terminal import DEFAULT_CONFIG, Config, err, fail, fail_config, load_site, out, show
from controller.run import logs

app = typer.Typer(
    help="Site controller for Bitcoin ASICs and Nvidia GPUs behind one grid connection.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs.app, name="job")

EXIT_NOT_REPLAYED = 2


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    observe: Annotated[
        bool, typer.Option("--observe", help="only look, whatever the site file says: command nothing")
    ] = False,
) -> None:
    """Run the controller in the foreground, as the service does."""
    from controller.config import ConfigError

    settings = load_site(config)
    if observe:
        settings = settings.only_observed()
    logs.configure(settings.log.format, settings.log.level)
    from controller import daemon  # after logging: device libraries configure it on import

    try:
        daemon.run(settings)
    except ConfigError as error:
        fail_config(str(error))
    except daemon.StartError as error:
        fail(str(error))


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="the site file, as --config")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Read a site file, check it whole, and print what was understood; exit 78 where it is refused, 1 where a
    certificate or key is not on this host."""
    from controller.cli.check import report
    from controller.config import ConfigError

    chosen = file or config
    try:
        starts = report(load_site(chosen), chosen, out)
    except ConfigError as error:
        fail_config(str(error))
    raise typer.Exit(0 if starts else 1)


@app.command()
def status(
    url: Url = None,
    config: SiteFile = None,
    every_node: Annotated[
        bool, typer.Option("--all", help="every node and alarm, also of a large site")
    ] = False,
) -> None:
    """The site at a glance: power against limits, events, alarms, and devices by reason."""
    from controller.cli.sitetables import status_tables

    for part in get("/status", url, config, lambda told: [*status_tables(told, every_node=every_node)]):
        show(part)


@app.command()
def why(device: str, url: Url = None, config: SiteFile = None) -> None:
    """Why a device draws what it draws: its grant, the reason, and the room on every node above it."""
    from controller.cli.sitetables import why_tables

    path = f"/why/{urllib.parse.quote(device, safe='')}"
    for part in get(path, url, config, lambda told: [*why_tables(told)]):
        show(part)


@app.command()
def replay(
    journal: Annotated[Path, typer.Argument(help="the journal, or the recording beside it")],
    begin: Annotated[str | None, typer.Option("--from", help="ISO 8601; without a zone it is UTC")] = None,
    end: Annotated[str | None, typer.Option("--to", help="ISO 8601; without a zone it is UTC")] = None,
    site: Annotated[
        Path | None, typer.Option(help="decide for this site instead of the recorded one")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="how many differences to print")] = 20,
) -> None:
    """Run recorded inputs through the core again; exit 1 where plans differ, 2 where it cannot be done."""
    from controller.cli import replay as replaying
    from controller.config import ConfigError, load
    from controller.run.recording.recording import RecordingError

    try:
        request = replaying.Request(
            path=journal,
            from_utc_s=replaying.moment(begin, -math.inf),
            to_utc_s=replaying.moment(end, math.inf),
            site=None if site is None else load(site).site(),
            limit=limit,
        )
        outcome = replaying.replay(request)
    except (ConfigError, RecordingError) as error:
        err.print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(EXIT_NOT_REPLAYED) from None
    for line in replaying.lines(outcome):
        out.print(line, soft_wrap=True)
    raise typer.Exit(1 if outcome.differing else 0)


@app.command()
def audit(
    file: Annotated[
        Path | None, typer.Argument(help="the site file that says where the journal is, as --config")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    journal: Annotated[Path | None, typer.Option(help="verify this file; no site file is needed")] = None,
    anchor: Annotated[list[str] | None, typer.Option(help="SEQ:HASH of a seal noted elsewhere")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the finding as JSON")] = False,
    export: Annotated[
        tuple[str, str, Path] | None,
        typer.Option(metavar="FROM TO FILE", help="then cut out what was written between two times"),
    ] = None,
) -> None:
    """Verify that the journal is as it was written; exit 1 where it is not, 2 where it cannot be read."""
    from controller.cli import audit as auditing

    request = auditing.Request(
        site_file=file or config, journal=journal, anchors=anchor or (), as_json=as_json, cut=export
    )
    raise typer.Exit(auditing.run(request, out, err))


@app.command()
def merit(
    url: Url = None,
    config: SiteFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="as the API tells it")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="one line a device, with a head")] = False,
) -> None:
    """Who is shed first: each device, what it earns, what its next watts would, and what leaving it costs."""
    from controller.cli.sitetables import merit_csv, merit_tables

    if as_json and as_csv:
        fail("--json and --csv: one of them")
    if as_json:
        typer.echo(get("/merit", url, config, json.dumps))
    elif as_csv:
        typer.echo(get("/merit", url, config, merit_csv), nl=False)
    else:
        for part in get("/merit", url, config, lambda told: [*merit_tables(told)]):
            show(part)


@app.command()
def report(
    event: Annotated[
        str | None, typer.Argument(help="its id; without one the known events are listed")
    ] = None,
    site: Annotated[Path | None, typer.Argument(help="the site file, as --config")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="this journal; then the site file may be missing")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    operator: Annotated[str | None, typer.Option(help="whose event it is; own: the site's")] = None,
    version: Annotated[str | None, typer.Option(help="only this version: its time, ISO 8601")] = None,
    part: Annotated[
        int | None, typer.Option(min=1, help="of an id that was used again; else the last")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="else the operator's, else meter-before")] = None,
    interval: Annotated[str | None, typer.Option(help="60s, 5m, 15m, 1h")] = None,
    node: Annotated[str | None, typer.Option(help="whose meter counts, else the site's")] = None,
    time_zone: Annotated[str | None, typer.Option(help="else settlement.time_zone")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="check the journal's seals as well")] = False,
    form: Annotated[str, typer.Option("--format", help="table, csv, json, openadr or html")] = "table",
    file: Annotated[Path | None, typer.Option("--out", help="write it there")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="settle the set-points from then on: 2026-11-28T14:00")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="until then, else until now")] = None,
    base: Annotated[
        float | None, typer.Option(help="kW that a regulation signal swings about, else its mean")
    ] = None,
) -> None:
    """The evidence of an event, or of a stream of set-points over a span of time: what was asked, drawn and
    given up, and whether the site complied."""
    from controller.cli import report as reporting
    from controller.cli.reportquestion import Format, ReportError, Wish

    if form not in list(Format):
        fail(f"--format {form}: one of {', '.join(Format)}")
    chosen = site or (config if journal is None else None)
    settings = None if chosen is None else load_site(chosen)
    wish = Wish(
        event=event,
        settings=settings,
        journal=journal,
        operator=operator,
        version=version,
        part=part,
        baseline=baseline,
        interval=interval,
        node=node,
        time_zone=time_zone,
        verify=verify,
        format=Format(form),
        out=file,
        since=since,
        until=until,
        base_kw=base,
    )
    try:
        reporting.run(wish, out)
    except ReportError as error:
        fail(str(error))


@app.command()
def curtail(
    kw: Annotated[
        float | None, typer.Option(min=0, help="the most that the site, or --node, may draw")
    ] = None,
    duration: Annotated[str | None, typer.Option("--for", help="90s, 45m, 2h, 1d")] = None,
    until: Annotated[str | None, typer.Option(help="18:30, or 2026-11-28T18:30-06:00")] = None,
    open_end: Annotated[bool, typer.Option("--open", help="until somebody ends it")] = False,
    node: Annotated[str, typer.Option(help="a node below the site")] = "",
    end: Annotated[bool, typer.Option("--end", help="end every curtailment that was asked for here")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Curtail the site by hand; without options, list the site's own events."""
    from controller.cli import curtail as curtailing

    wish = curtailing.Wish(kw=kw, duration=duration, until=until, open_end=open_end, node=node, end=end)
    try:
        curtailing.run(wish, load_site(config).control, out)
    except curtailing.CurtailError as error:
        fail(str(error))


@app.command()
def gpus(library: Annotated[str | None, typer.Option(help="path of the NVML library")] = None) -> None:
    """Print a ready site-file block for the GPUs of this host."""
    from drivers.base import DriverError
    from drivers.gpu_describe import describe

    try:
        typer.echo(describe(library))
    except DriverError as error:
        fail(str(error))


@app.command()
def discover(
    ranges: Annotated[
        list[str], typer.Argument(help="networks, ranges, addresses: 10.20.0.0/22 10.20.4.5-9")
    ],
    at_once: Annotated[int, typer.Option(min=1, max=100, help="machines in conversation at once")] = 50,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="seconds for one machine")] = 8.0,
    file: Annotated[Path | None, typer.Option("--out", help="the inventory to write (TOML)")] = None,
    update: Annotated[bool, typer.Option("--update", help="merge into an inventory that exists")] = False,
    port_map: Annotated[list[str] | None, typer.Option(help="80=18080, for simulated sites")] = None,
    logins: Annotated[Path | None, typer.Option(help="TOML: per family, username and password")] = None,
) -> None:
    """Find the miners of a network, print them as site-file blocks, and keep an inventory of them."""
    from controller.cli import discover as discovery

    request = discovery.Request(
        ranges=ranges,
        at_once=at_once,
        timeout_s=timeout,
        inventory=file,
        update=update,
        port_map=port_map or (),
        logins=logins,
    )
    try:
        raise typer.Exit(discovery.run(request, out, err))
    except discovery.DiscoverError as error:
        fail(str(error))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def simulate(context: typer.Context) -> None:
    """Serve a simulated site on loopback, from PLANT.toml or --site SITE.toml; simulate --help says more."""
    from simulators import serve

    sys.exit(serve.main(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(context: typer.Context) -> None:
    """Run a whole simulated site on real sockets through a demand-response event, and judge it."""
    from simulators.demo import main as demo_main

    sys.exit(demo_main.main(context.args))


def main() -> None:
    # A file that the daemon makes (journal, job logs) is nobody else's to write.
    os.umask(0o027)
    app()


if __name__ == "__main__":
    main()
