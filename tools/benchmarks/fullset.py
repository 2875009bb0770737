# SPDX-License-Identifier: GPL-2.0-only
"""Parts of the work that ask how much is libclamav's, and what a full-size set of signatures does to them."""
import subprocess

from harness import PATIENCE, wait_until

from .ground import START_PATIENCE, compile_program, memory_of_all
from .stage import CLAM, HOLDFAST, UNPROTECTED, Case, Part

CHUNK = 250  # files that are opened, or scanned, before the next in turn

ORIGINAL = Case("original", "", "ms")
COPY = Case("copy", "", "ms")
MEMORY = Case("memory", "memory of all processes", "MB", "one loaded engine")

SCANNED_BY = 4  # openers at once, so that every worker has scanned


class OneEngine:
    """A process that is nothing but libclamav, with an engine of its own and holdfast's options; see scan.c."""

    def __init__(self, stage):
        self.stage = stage
        scratch = stage.place.base / "scratch"
        scratch.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [compile_program(stage.place, "scan", "-lclamav"), stage.signatures, scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("ready"), "libclamav does not load"
        self.signatures = int(line.split()[1])
        self.kb = self.ask("memory")

    def ask(self, line):
        def answer():
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()

        said = self.stage.step(answer)
        assert said, f"{line}: libclamav's process has ended"
        return int(said)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=START_PATIENCE)


class BesideLibclamav(Part):
    """First opens beside a process that scans the same files, on a volume that nobody watches."""

    name = "libclamav"

    def __init__(self, options):
        super().__init__(options)
        self.engine = None

    def prepare(self, stage):
        for i in range(self.options.rounds):
            stage.make(self.options.files, f"protected/libclamav/{i}")

    def measure(self, stage, i):
        self.engine = self.engine or OneEngine(stage)
        taken = dict.fromkeys(stage.products, 0)
        for turn, first in enumerate(range(0, self.options.files, CHUNK)):
            n = min(CHUNK, self.options.files - first)
            for product in stage.turn(i + turn):
                taken[product] += self.take(stage, product, i, first, n)
        for product, sample in taken.items():
            stage.record(self.case(stage), product, sample)

    def take(self, stage, product, i, first, n):
        directory = stage.volumes[product] / f"protected/libclamav/{i}"
        if product == UNPROTECTED:
            return self.engine.ask(f"time {first} {n} {directory}") / 1e6
        return sum(stage.time(n, directory, first=first)[0]) / 1e3

    def case(self, stage):
        title = f"first opens of {self.options.files} files, {stage.name}"
        return Case(f"libclamav-{stage.key}", title, "ms", "cl_scandesc alone")

    def finish(self):
        if self.engine:
            self.engine.close()


class Copy(Part):
    """Files and others with the same content, all of them there before the services are."""

    name = "copy"

    def __init__(self, options):
        super().__init__(options)
        self.original = ORIGINAL._replace(title=f"read {options.copied} files for the first time, full-size set")
        self.copy = COPY._replace(title=f"read a copy of these {options.copied} files for the first time")

    def prepare(self, stage):
        for i in range(self.options.rounds):
            names = [f"protected/copy/{i}-{case.key}" for case in (self.original, self.copy)]
            directories = [directory for name in names for directory in stage.directories(name)]
            stage.open("make", self.options.copied, self.options.size, *directories)

    def measure(self, stage, i):
        for product in stage.turn(i):
            for case in (self.original, self.copy):
                directory = stage.volumes[product] / f"protected/copy/{i}-{case.key}"
                stage.record(case, product, stage.ms("read", self.options.copied, 1, directory))


class Memory(Part):
    """The share of memory of all processes, after thousands of scans."""

    name = "memory"

    def __init__(self, options):
        super().__init__(options)
        self.one = None

    def prepare(self, stage):
        for i in range(self.options.rounds):
            stage.make(self.options.files, f"protected/memory/{i}")

    def measure_one(self, stage):
        if not self.one:
            engine = OneEngine(stage)
            self.one = engine.kb
            engine.close()
        return self.one

    def measure(self, stage, i):
        for product in stage.products[1:]:
            directory = stage.volumes[product] / f"protected/memory/{i}"
            stage.open("open", self.options.files, SCANNED_BY, directory)
        stage.drain(HOLDFAST)
        ours = wait_until(lambda: memory_of_all(stage.service), "its processes stay the same for a moment", PATIENCE)
        stage.record(MEMORY, UNPROTECTED, self.measure_one(stage) / 1024)
        stage.record(MEMORY, HOLDFAST, ours / 1024)
        if CLAM in stage.products:
            stage.record(MEMORY, CLAM, stage.memory_of_clam() / 1024)


PARTS = (Copy, BesideLibclamav, Memory)
