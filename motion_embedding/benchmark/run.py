"""From a manifest to finished items: what is missing, who makes it, and where it is kept."""

from __future__ import annotations

import fnmatch
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from . import scheduler
from .checks import problems_of_workflows
from .failure import BenchmarkError
from .groups import grouped_by_complexity
from .items import Item, Method, file_stem
from .manifest import Manifest
from .prepared import Reference
from .store import Results
from .work import Event, Job, Outcome, Pool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which items to make. ``only``: patterns for a clip, a method, or ``clip/method``; ``limit`` 0 is no limit."""

    only: tuple[str, ...] = ()
    limit: int = 0

    def of(self, items: Mapping[str, Item]) -> dict[str, Item]:
        chosen = {id: item for id, item in items.items() if not self.only or any(map(partial(_fits, item), self.only))}
        return dict(list(chosen.items())[: self.limit or None])


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    ``items`` is all that the manifest asks for, by id; ``finished`` says how many of them there are already, and
    ``missing`` is what is to be made now. ``references`` are those of each clip.
    """

    items: Mapping[str, Item]
    finished: int
    missing: Mapping[str, Item]
    references: Mapping[str, Reference]


@dataclass(frozen=True)
class Progress:
    """So many of ``total`` items have ended, ``failed`` of them badly; ``last`` is what came of the last."""

    done: int
    failed: int
    total: int
    last: Outcome


@dataclass
class Summary:
    """How a run went: items made, and why others failed, by id."""

    made: int = 0
    failures: dict[str, str] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


def make_plan(
    manifest: Manifest, references: Iterable[Reference], results: Results, selection: Selection | None = None
) -> Plan:
    """What is to be done so that ``results`` holds every item of ``manifest``.

    An item is made when it has no record, its video is gone, or, made elsewhere, its video is another by now.
    """
    if manifest.by_complexity:
        references = grouped_by_complexity(references, manifest.format)
    by_clip = {reference.clip.name: reference for reference in references}
    manifest = replace(manifest, clips=tuple(reference.clip for reference in by_clip.values()))
    items = {item.id: item for item in manifest.items({name: ref.digest for name, ref in by_clip.items()})}
    unfinished = {id: item for id, item in items.items() if not _done(manifest, item, id, results)}
    return Plan(items, len(items) - len(unfinished), (selection or Selection()).of(unfinished), by_clip)


def describe(manifest: Manifest, plan: Plan, results: Results) -> None:
    """Write the results folder's ``benchmark.json``."""
    settings = {
        key: str(value) if isinstance(value, Path) else value for key, value in asdict(manifest.metrics).items()
    }
    facts = {
        "name": manifest.name,
        "manifest": str(manifest.path),
        "clips": {
            name: {
                "file": reference.file.relative_to(results.folder).as_posix(),
                "look": reference.clip.look,
                "group": reference.clip.group,
                "complexity": reference.complexity,
            }
            for name, reference in plan.references.items()
        },
        "methods": [method.name for method in manifest.methods],
        "seeds": list(manifest.seeds),
        "prompts": {clip.name: list(clip.prompts) for clip in manifest.clips},
        "metrics": settings,
        "items": list(plan.items),
    }
    results.describe(facts)


def generate(
    manifest: Manifest,
    plan: Plan,
    results: Results,
    make_pool: Callable[[], Pool],
    retries: int = 2,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Make what is missing, and record each item as soon as it has ended.

    ``make_pool`` is called only if an item needs a worker. Raises :class:`BenchmarkError` when there is no room or no
    worker left, or a worker's ComfyUI cannot run a workflow, as far as its list of nodes tells.
    """
    summary, attempted = Summary(), 0

    def record(outcome: Outcome, attempts: int) -> None:
        nonlocal attempted
        results.record(plan.missing[outcome.id], outcome, attempts)
        attempted += 1
        if outcome.error:
            summary.failures[outcome.id] = outcome.error
        else:
            summary.made += 1
        if on_progress:
            on_progress(Progress(attempted, len(summary.failures), len(plan.missing), outcome))

    tasks = []
    for id, item in plan.missing.items():
        reference = plan.references[item.clip.name]
        if reference.error:
            record(Outcome(id, "", 0.0, error=reference.error), 1)
        elif item.method.videos:
            record(_copied(manifest.made_elsewhere(item), id), 1)
        else:
            tasks.append(scheduler.Task(id, item.group, partial(_job, id, item, reference.file)))
    if tasks:
        pool = make_pool()
        try:
            methods = {item.method.name: item.method for item in plan.missing.values() if not item.method.videos}
            scheduler.run(tasks, pool, record, retries, partial(_look, methods.values()))
        finally:
            pool.close()
    return summary


def _look(methods: Collection[Method], event: Event) -> None:
    """At every ComfyUI that has started, before it gets an item."""
    if event.nodes is not None and (problems := [*problems_of_workflows(methods, event.nodes)]):
        raise BenchmarkError("\n".join([f"The ComfyUI of {event.worker} cannot run what is asked for.", *problems]))


def _fits(item: Item, pattern: str) -> bool:
    clip, method = item.clip.name, item.method.name
    return any(fnmatch.fnmatchcase(name, pattern) for name in (clip, method, f"{clip}/{method}"))


def _done(manifest: Manifest, item: Item, id: str, results: Results) -> bool:
    record = results.finished(id)
    if record is None or not item.method.videos:
        return record is not None
    try:
        return hashlib.sha256(manifest.made_elsewhere(item).read_bytes()).hexdigest() == record["sha256"]
    except OSError:
        return True  # what was copied is still what was made


def _copied(file: Path, id: str) -> Outcome:
    try:
        return Outcome(id, "copied", 0.0, file.read_bytes(), file.suffix.lower())
    except OSError as error:
        return Outcome(id, "copied", 0.0, error=f"The video {file} cannot be read: {error.strerror}.")


def _job(id: str, item: Item, clip: Path) -> Job:
    method = item.method
    name = f"{file_stem(item.clip.name)}{clip.suffix}"
    targets = method.inputs["clip"]
    return Job(id, item.group, method.workflow, item.values, targets, name, clip.read_bytes(), method.output)
