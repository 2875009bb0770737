# SPDX-License-Identifier: GPL-2.0-only
"""Parts of the work that are nothing but open()."""
import shutil
import time
from contextlib import contextmanager
from statistics import median

from harness import NOBODY, holdfast, wait_until

from .scans import make_tree
from .stage import HOLDFAST, SETTLE, UNPROTECTED, Case, Part

AGAIN = Case("again", "open a verified file again", "us")
OUTSIDE = {
    "outside/files": Case("outside-root", "open out of scope, in a directory of root's", "us"),
    "movable/files": Case("outside-user", "open out of scope, in a directory that a user may move", "us"),
}
KNOWN = Case("known", "open a file that only the guard remembers", "us")
IDLE = Case("idle", "p99 of a first open, idle service", "us")
BUSY = Case("busy", "p99 of a first open during a full scan", "us")

OPENERS = (1, 4)

WARM_UP = 5  # opens of each file out of scope, so that the kernel has been taught what it can be

FORGOTTEN = 1.2  # seconds after a reload until files are marked again


def percentile(times, share):
    return times[min(int(len(times) * share), len(times) - 1)]


class Again(Part):
    """Files that were verified before."""

    name = "again"

    def prepare(self, stage):
        stage.make(self.options.files, "protected/again")

    def measure(self, stage, i):
        directories = stage.directories("protected/again")
        stage.time(self.options.files, *directories)  # so that it is known, whatever was done before
        for product, times in zip(stage.products, stage.time(self.options.files, *directories)):
            stage.record(AGAIN, product, median(times))


class First(Part):
    """Files that nobody has opened yet, by one opener and by several."""

    name = "first"

    def __init__(self, options):
        super().__init__(options)
        self.cases = {
            n: Case(f"first-{n}", f"first opens of {options.files} files by {n} opener{'s' if n > 1 else ''}", "ms")
            for n in OPENERS
        }

    def prepare(self, stage):
        for i in range(self.options.rounds):
            stage.make(self.options.files, *(f"protected/first/{i}-{n}" for n in OPENERS))

    def measure(self, stage, i):
        for n, case in self.cases.items():
            for product in stage.turn(i):
                directory = stage.volumes[product] / f"protected/first/{i}-{n}"
                stage.record(case, product, stage.ms("open", self.options.files, n, directory))


class Outside(Part):
    """Files that are on the same filesystem and not below the include path."""

    name = "outside"

    def prepare(self, stage):
        stage.make(self.options.files, *OUTSIDE)
        for directory in (*stage.directories("movable"), *stage.directories("movable/files")):
            shutil.chown(directory, NOBODY)

    def measure(self, stage, i):
        for name, case in OUTSIDE.items():
            directories = stage.directories(name)
            for _ in range(WARM_UP):
                stage.time(self.options.files, *directories)
            for product, times in zip(stage.products, stage.time(self.options.files, *directories)):
                stage.record(case, product, median(times))


class Known(Part):
    """
    Files that the guard knows and the kernel does not: a reload of the same signatures has the kernel forget, and
    keeps the verdicts.
    """

    name = "known"

    def prepare(self, stage):
        stage.make(self.options.files, "protected/known")

    def measure(self, stage, i):
        n, directories = self.options.files, stage.directories("protected/known", (UNPROTECTED, HOLDFAST))
        stage.time(n, *directories)
        time.sleep(SETTLE)
        stage.service.reload()
        before = stage.counter("known")
        plain, ours = stage.time(n, *directories)
        known = stage.counter("known") - before
        time.sleep(FORGOTTEN)
        if known < 0.95 * n:
            stage.results.remark(f"known: the guard was asked about {known} of {n} files it knows: not measured")
            return
        stage.record(KNOWN, UNPROTECTED, median(plain))
        stage.record(KNOWN, HOLDFAST, median(ours))


class Scheduled(Part):
    """First opens while a full scan runs, beside those of an idle service."""

    name = "scheduled"

    def configure(self, stage):
        tree, _ = make_tree(stage.place, self.options)
        return {"full_scan": {"path": tree}}

    def prepare(self, stage):
        for i in range(self.options.rounds):
            stage.make(self.options.files, f"protected/scheduled/{i}-idle", f"protected/scheduled/{i}-busy")

    @contextmanager
    def scanning(self, stage):
        """While a full scan has as many workers as it may."""
        service = stage.service

        def is_running():
            return service.status()["full_scan"]["state"] == "running"

        assert holdfast(service, "scan", "--full", "--all").returncode == 0, "the full scan does not begin"
        wait_until(lambda: is_running() and service.status()["workers"]["busy"], "the full scan has begun")
        yield is_running
        holdfast(service, "scan", "--full", "--stop")
        wait_until(lambda: not is_running(), "the full scan pauses")

    def measure_one(self, stage, i, case):
        directories = stage.directories(f"protected/scheduled/{i}-{case.key}", (UNPROTECTED, HOLDFAST))
        return [percentile(times, 0.99) for times in stage.time(self.options.files, *directories)]

    def measure(self, stage, i):
        samples = {}
        for case in (IDLE, BUSY) if i % 2 else (BUSY, IDLE):
            if case is IDLE:
                samples[case] = self.measure_one(stage, i, case)
                continue
            with self.scanning(stage) as is_running:
                samples[case] = self.measure_one(stage, i, case)
                if not is_running():
                    stage.results.remark("scheduled: the full scan ended before the opens did: a larger --tree-size")
        for case in (IDLE, BUSY):
            for product, sample in zip((UNPROTECTED, HOLDFAST), samples[case]):
                stage.record(case, product, sample)


PARTS = (Again, First, Outside, Known, Scheduled)
