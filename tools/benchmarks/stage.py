# SPDX-License-Identifier: GPL-2.0-only
"""
Where work is measured: a volume for each product and one that nobody watches, and services on them that all run at
the same time. What is measured takes turns, so that noise hits all of them alike.
"""
import itertools
import shutil
import subprocess
import time
from collections import namedtuple

from harness import EICAR, create, mounted, open_as, wait_until

from . import TOP
from .clam import Clam, missing_of_clam
from .ground import START_PATIENCE, compile_program, make_volume, proportional_memory, refuses_malware

UNPROTECTED, HOLDFAST, CLAM = PRODUCTS = ("unprotected", "holdfast", "clamonacc")

# How long one step may take before it counts as hanging, and the services are ended. Machines that measure may be
# busy, and a step is thousands of scans.
STEP_PATIENCE = 300

# Files that changed just now are not remembered.
SETTLE = 0.3

# What is counted only where an open was not answered by a verdict.
NO_VERDICT = ("timeouts", "late", "not_scanned", "read_errors", "overflows", "workers_lost", "poisoned")

# first says what the first column is where that is not the same on a volume that nobody watches.
Case = namedtuple("Case", "key title unit first", defaults=("",))


class Hang(AssertionError):
    """The services had to be ended."""


class Part:
    """One kind of work. Its name is what --only takes."""

    name = ""

    def __init__(self, options):
        self.options = options

    def missing(self):
        """What it cannot do without and is not installed, for people; empty: nothing."""
        return ""

    def configure(self, _stage):
        """Sections of holdfast's configuration that it needs."""
        return {}

    def prepare(self, stage):
        """Makes what is there before anybody protects it: nothing of it is known."""

    def measure(self, stage, i):
        """One round."""
        raise NotImplementedError

    def finish(self):
        """Ends what it has begun."""

    def made(self, _i):
        """Directories of the volume that a round has made."""
        return ()


class Results:
    """What is measured: a sample for each product and round of a case."""

    def __init__(self):
        self.cases, self.samples, self.signatures = {}, {}, {}
        self.remarks, self.wrong = [], []

    def record(self, case, product, sample):
        self.cases[case.key] = case
        self.samples.setdefault(case.key, {}).setdefault(product, []).append(sample)

    def remark(self, text):
        if text not in self.remarks:
            self.remarks.append(text)

    def blame(self, text):
        """What makes the whole run fail."""
        if text not in self.wrong:
            self.wrong.append(text)

    def as_json(self):
        return {
            "signatures": self.signatures,
            "cases": [
                {**case._asdict(), "samples": self.samples[case.key]} for case in self.cases.values()
            ],
            "remarks": self.remarks,
            "wrong": self.wrong,
        }


class Stage:
    """One set of signatures: the volumes and services, and how things are done to them."""

    def __init__(self, key, name, place, options, results, **volume):
        self.key, self.name, self.place, self.keeper = key, name, place, place.keeper
        self.options, self.results = options, results
        self.program = compile_program(place, "open")
        self.products = [product for product in PRODUCTS if product != CLAM or not missing_of_clam()]
        self.volumes = {product: make_volume(place, **volume) for product in self.products}
        self.service = self.clam = self.signatures = None
        self.numbers = itertools.count()
        self.passed = {}  # opens that holdfast answered without a verdict, as last seen

    # Before they protect.

    def directories(self, name, products=PRODUCTS):
        """A directory on each volume, made if it is not there."""
        directories = []
        for product in products:
            if product in self.volumes:
                directories.append(self.volumes[product] / name)
                directories[-1].mkdir(parents=True, exist_ok=True)
        return directories

    def make(self, n, *names):
        """The same files on all volumes."""
        self.open("make", n, self.options.size, *itertools.chain(*map(self.directories, names)))

    def start(self, signatures=None, workers="auto", **sections):
        """signatures: a directory that the services' users can reach; None: the test signature only."""
        if not signatures:
            signatures = self.place.base / "signatures"
            signatures.mkdir()
            shutil.copy(TOP / "config" / "eicar.ndb", signatures)
        self.signatures = signatures
        self.service = self.place.service(
            include=self.volumes[HOLDFAST] / "protected",
            engine={"workers": workers, "signatures": signatures},
            **sections,
        )
        self.service.launch()
        self.service.expect("-> protecting: ", 0, START_PATIENCE)
        self.results.signatures[HOLDFAST] = self.service.status()["signatures"]["count"]
        if CLAM in self.products:
            self.clam = Clam(self.place, self.volumes[CLAM] / "protected", signatures).start()
            self.results.signatures[CLAM] = self.clam.count_signatures()
        for product in self.products[1:]:
            self.wait_protected(product)
        time.sleep(SETTLE)

    def wait_protected(self, product):
        wait_until(lambda: refuses_malware(self.volumes[product]), f"{product} refuses malware")

    # While they do.

    def turn(self, i):
        """The products, another one first each time."""
        start = i % len(self.products)
        return self.products[start:] + self.products[:start]

    def record(self, case, product, sample):
        self.results.record(case, product, sample)

    def step(self, function, patience=STEP_PATIENCE):
        """The keeper ends the services when it takes too long, and lets all opens go."""
        self.keeper.tell("deadline", patience)
        try:
            return function()
        finally:
            self.keeper.tell("deadline", 0)
            if self.keeper.has_fired():
                raise Hang(f"something took more than {patience} s, and the services were killed")

    def run(self, *argv, said="", patience=STEP_PATIENCE, env=None):
        """said: on its standard input. Returns what it answered, and how long it took in ms."""
        argv, began = [str(word) for word in argv], time.monotonic()
        done = self.step(
            lambda: subprocess.run(argv, input=said, capture_output=True, text=True, check=False, env=env), patience
        )
        took = (time.monotonic() - began) * 1000
        assert done.returncode == 0, f"{' '.join(argv[:8])}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        return done.stdout, took

    def open(self, *words, patience=STEP_PATIENCE):
        """What the timing program says."""
        return self.run(self.program, *words, patience=patience)[0]

    def ms(self, *words):
        return int(self.open(*words)) / 1e6

    def time(self, n, *directories, first=0, step=1):
        """Opens of all directories by turns: for each the times in us, sorted."""
        lines = self.open("time", first, step, n, *directories).splitlines()
        return [sorted(int(word) / 1000 for word in line.split()) for line in lines]

    def counter(self, name):
        return self.service.status()["counters"][name]

    def is_drained(self):
        """Whether nothing waits for a scan, and none is under way."""
        status = self.service.status()
        waiting = status.get("scan_ahead", {}).get("waiting", 0)
        return not (waiting or status["requests"] or status["workers"]["busy"])

    def drain(self, product):
        """Until what was written has been scanned, where that is done: it would disturb what comes next."""
        time.sleep(SETTLE)
        if product == HOLDFAST:
            wait_until(self.is_drained, "all that was written is scanned", STEP_PATIENCE)

    def memory_of_clam(self):
        return proportional_memory(process.pid for process in self.clam.processes)

    def finish(self):
        """Services before volumes, and before the directory of signatures, whose files they have open."""
        for service in filter(None, (self.service, self.clam)):
            service.finish()
        for volume in self.volumes.values():
            self.run("umount", volume.path)
            # A million inodes take their time.
            wait_until(volume.is_gone, f"{volume.path} and its loop device are gone", STEP_PATIENCE)

    # Whether it counts.

    def reads_malware(self, product, directory):
        """Whether new malware can be read there."""
        path = self.volumes[product] / directory / f"malware{next(self.numbers)}"
        create(path, EICAR + b"\n%d\n" % next(self.numbers))
        error = open_as("root", path).error
        path.unlink()
        return error != "EPERM"

    def check_malware(self, product, part, i):
        if not refuses_malware(self.volumes[product]) or self.reads_malware(product, "protected"):
            self.results.blame(f"{part.name}: {product} let malware be read")
        for directory in part.made(i):
            if not self.reads_malware(product, directory):
                continue
            if product == HOLDFAST:
                self.results.blame(f"{part.name}: {product} let malware be read in {directory}")
            else:
                self.results.remark(f"{part.name}: {product} let malware be read in a directory that was just made")

    def check(self, part, i):
        """Each product must still refuse malware, and holdfast must have let nothing through."""
        for product in self.products[1:]:
            self.check_malware(product, part, i)
        assert open_as("root", self.volumes[UNPROTECTED] / "protected/eicar").content == EICAR
        passed = self.count_passed()
        if passed != self.passed:
            self.results.blame(f"{part.name}: holdfast answered without a verdict: {passed}")
            self.passed = passed

    def count_passed(self):
        status = self.service.status()
        passed = {name: n for name in NO_VERDICT if (n := status["counters"][name])}
        passed |= {name: n["allowed"] for name, n in status["policies"].items() if n["allowed"]}
        return passed


def reachable(place, directory):
    """A directory of signatures, wherever it is, where the services' users can read it."""
    return mounted(place, place.base / "signatures", "--bind", directory)
