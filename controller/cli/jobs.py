"""The `wattshift job` commands: the local queue of GPU jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from controller.cli.terminal import DEFAULT_CONFIG, Config, fail, folded, load_site, out, show
from controller.domain.jobs import JobState
from controller.domain.prices import MARKETS, Price
from controller.domain.site import Mode
from controller.grid.isotime import stamp

app = typer.Typer(help="The local queue of GPU jobs.", no_args_is_help=True)


@app.command("submit", context_settings={"allow_interspersed_args": False})
def job_submit(
    command: Annotated[list[str], typer.Argument(help="the program and its arguments, after --")],
    gpus: Annotated[int, typer.Option(min=1, help="how many GPUs")] = 1,
    value: Annotated[
        float | None,
        typer.Option(min=0, max=MARKETS[Price.GPU_HOUR].most, help="USD per GPU and hour; else the site's"),
    ] = None,
    flex: Annotated[int, typer.Option(min=0, max=3, help="throughput it may lose: 0, 10, 25 or 50 %")] = 2,
    on_shortage: Annotated[str, typer.Option(help="suspend, requeue or protect")] = "requeue",
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the job; repeat as needed")] = None,
    kind: Annotated[str, typer.Option(help="jobs of one kind lose alike to a power cap")] = "job",
    queue: Annotated[str | None, typer.Option(help="which queue, where a site has several")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Queue a GPU job. It runs in this directory, and what it prints goes to logs/JOB.log of the queue's."""
    from drivers import localqueue

    settings = load_site(config)
    most = sum(len(host.uuids) for host in settings.gpu_hosts)
    if gpus > most:
        fail(f"--gpus {gpus}: {config} has {most}, so the job would wait for ever")
    request = _validated(
        localqueue.JobRequest,
        argv=command,
        gpus=gpus,
        usd_per_gpu_hour=value,
        flex=flex,
        on_shortage=on_shortage,
        cwd=str(Path.cwd()),
        kind=kind,
        env=dict(_variable(pair) for pair in env or ()),
    )
    try:
        typer.echo(localqueue.submit(_queue_directory(config, settings, queue), request))
    except localqueue.QueueError as error:
        fail(str(error))


@app.command("list")
def job_list(queue: str | None = None, config: Config = DEFAULT_CONFIG) -> None:
    """Every job of the queue, oldest first: where it runs, what it waits for, or why it failed."""
    from drivers import localqueue

    settings = load_site(config)
    directory = _queue_directory(config, settings, queue)
    try:
        jobs = localqueue.list_jobs(directory)
    except localqueue.QueueError as error:
        fail(str(error))
    all_gpus = sum(len(host.uuids) for host in settings.gpu_hosts)
    free = all_gpus - sum(len(job.held) for job in jobs)
    table = Table("job", "state", "GPUs", "USD/GPU-h", "on, or why", "command", box=None)
    for job in jobs:
        usd = "site" if job.usd_per_gpu_hour is None else f"{job.usd_per_gpu_hour:g}"
        where = folded(job.held)
        if job.state is JobState.SUSPENDED:
            where = f"waits for watts on {where}"
        elif job.state is JobState.QUEUED:
            observed = settings.controller.mode is Mode.OBSERVE
            where = "the site is only observed" if observed else _waits_for(job.gpus, free, all_gpus)
        table.add_row(job.id, job.state, str(job.gpus), usd, job.why or where, " ".join(job.argv))
    show(table)
    if any(job.state is JobState.FAILED for job in jobs):
        out.print(f"what they printed: {directory / 'logs'}", soft_wrap=True)


@app.command("cancel")
def job_cancel(job: str, queue: str | None = None, config: Config = DEFAULT_CONFIG) -> None:
    """Take a job out of the queue; one that is running is asked to end."""
    from drivers import localqueue

    try:
        localqueue.cancel(_queue_directory(config, load_site(config), queue), job)
    except localqueue.QueueError as error:
        fail(str(error))


@app.command("history")
def job_history(
    job: Annotated[str, typer.Argument(help="the job's id, as the queue lists it")],
    days: Annotated[float, typer.Option(min=0, max=36_500, help="how far back")] = 30.0,
    queue: str | None = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """What the controller told a job, when and why, and what its queue answered: from the journal."""
    from controller.run.journal.history import HistoryError, opened

    settings = load_site(config)
    names = sorted(one.id for one in settings.queues)
    if queue is None and len(names) != 1:
        fail(f"--queue is needed: {config} has {', '.join(names) or 'no queue'}")
    subject = f"{queue or names[0]}/{job}"
    now_utc_s = time.time()
    table = Table("utc", "told", "what came of it", "why", box=None)
    try:
        with opened(settings.journal.path) as history:
            for row in history.commands(now_utc_s - days * 86_400, now_utc_s):
                if row.is_of_job and row.device == subject:
                    table.add_row(stamp(row.utc_s), row.point, row.kind, row.detail)
    except HistoryError as error:
        fail(str(error))
    if not table.row_count:
        fail(f"nothing was told to {subject} in {days:g} days")
    show(table)


def _waits_for(wanted: int, free: int, of: int) -> str:
    if wanted > free:
        return f"waits for GPUs: {free} of {of} are free"
    return "waits for watts"


def _queue_directory(config: Path, settings: Any, name: str | None) -> Path:
    queues = {queue.id: queue.directory for queue in settings.queues}
    if name is None and len(queues) == 1:
        return Path(next(iter(queues.values())))
    if not queues:
        fail(f"{config} names no queue")
    if name not in queues:
        fail(f"{config}: no queue {name!r}; it has {', '.join(sorted(queues))}")
    return Path(queues[str(name)])


def _variable(pair: str) -> tuple[str, str]:
    name, is_set, value = pair.partition("=")
    if not is_set:
        fail(f"--env {pair}: NAME=VALUE is needed")
    return name, value


def _validated(model: Any, **values: object) -> Any:
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        fail("\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
