# SPDX-License-Identifier: GPL-2.0-only
"""How the cost of opening a verified file again grows with their number."""
import time
from statistics import median

from .ground import say
from .stage import CLAM, Case, Part

CONTENT = 60  # bytes, which ext4 keeps in the inode: what is not opened costs little

CLAM_UP_TO = 10_000  # it looks at each open again, which would take the rest of the day

VERIFIED_BY = 4  # openers at once


def volume_options(options):
    """Of a volume with an inode for each file, and its tables written before anything is measured."""
    files = sum(options.growth)
    return {
        "size": (64 << 20) + files * 512,
        "mkfs": ("-N", str(files + files // 100 + 10_000), "-O", "inline_data", "-E", "lazy_itable_init=0"),
    }


class Growth(Part):
    """The same number of opens each time, spread over ever more files, all of which were verified."""

    name = "growth"
    VERIFY_PATIENCE = 1800  # seconds

    def products(self, stage, n):
        return [product for product in stage.products if product != CLAM or n <= CLAM_UP_TO]

    def directories(self, stage, n):
        return stage.directories(f"protected/growth/{n}", self.products(stage, n))

    def prepare(self, stage):
        for n in self.options.growth:
            stage.open("make", n, CONTENT, *self.directories(stage, n))

    def verify(self, stage):
        for n in self.options.growth:
            for directory in self.directories(stage, n):
                began = time.monotonic()
                stage.open("open", n, VERIFIED_BY, directory, patience=self.VERIFY_PATIENCE)
                say(f"{directory}: opened by {VERIFIED_BY} for the first time, {time.monotonic() - began:.1f} s")
            if CLAM in stage.products and n > CLAM_UP_TO:
                stage.results.remark(f"growth: {CLAM} is measured up to {CLAM_UP_TO:,} files, the rest would take long")

    def time_all(self, stage):
        opened = {n: min(n, self.options.files) for n in self.options.growth}
        return {n: stage.time(opened[n], *self.directories(stage, n), step=n // opened[n]) for n in opened}

    def measure(self, stage, i):
        if i == 0:
            self.verify(stage)
            self.time_all(stage)  # what was verified first is no longer in anybody's cache
        for n, times in self.time_all(stage).items():
            for product, sample in zip(self.products(stage, n), times):
                case = Case(f"growth-{n}", f"open one of {n:,} verified files again", "us")
                stage.record(case, product, median(sample))


PARTS = (Growth,)
