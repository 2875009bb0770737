# SPDX-License-Identifier: GPL-2.0-only
"""How long holdfastd takes to protect, and clamd to answer, with a full-size set; and the memory of each."""
import os
import time
from collections import namedtuple
from contextlib import closing
from statistics import median

from harness import KeeperProcess, Place, mounted, wait_until

from . import TOP
from .clam import Clam, missing_of_clam
from .ground import START_PATIENCE, execute, machine, proportional_memory, say

Start = namedtuple("Start", "seconds kb")


def start_with_holdfast(place, volume, signatures):
    """From exec to the line that says that files are protected; the memory is that of all processes."""
    service = place.service(include=volume.path, engine={"workers": "auto", "signatures": signatures})
    began = time.monotonic()
    service.launch()
    wait_until(
        lambda: service.process.poll() is not None or service.match(r"-> protecting: "),
        f"holdfast protects; it says {service.errors()}",
        START_PATIENCE,
    )
    took = time.monotonic() - began
    assert service.process.poll() is None, f"holdfastd has ended: {service.errors()}"
    service.workers(os.cpu_count() + 1)
    start = Start(took, proportional_memory(process.pid for process in service.processes()))
    service.finish()
    return start


def start_with_clam(place, signatures):
    """From exec to the answer to a PING."""
    clam = Clam(place, signatures=signatures)
    began = time.monotonic()
    clam.start()
    start = Start(time.monotonic() - began, proportional_memory([clam.processes[0].pid]))
    clam.finish()
    return start


def bench_starts(options):
    if missing := missing_of_clam():
        raise AssertionError(missing)
    execute(TOP / "tools" / "bench-signatures", options.set)
    with closing(KeeperProcess()) as keeper, closing(Place(keeper)) as place:
        volume = place.volume("ext4")
        # Its users need not be able to reach the directory.
        with mounted(place, place.base / "signatures", "--bind", options.set) as signatures:
            products = {
                "holdfast": lambda: start_with_holdfast(place, volume, signatures),
                "clamd": lambda: start_with_clam(place, signatures),
            }
            for start in products.values():
                start()  # the page cache is warm from here on
            starts = {name: [] for name in products}
            for i in range(options.start_rounds):
                say(f"round {i + 1} of {options.start_rounds}")
                names = list(products)
                for name in names if i % 2 else reversed(names):
                    starts[name].append(products[name]())
    return {
        **machine(),
        "seconds": {name: [start.seconds for start in taken] for name, taken in starts.items()},
        "kb": {name: [start.kb for start in taken] for name, taken in starts.items()},
    }


def print_starts(result):
    seconds, kb = result["seconds"], result["kb"]
    print(
        f"""\
start with 8.4 million signatures, {len(seconds["clamd"])} rounds by turns, page cache warm; {result["cpus"]} CPUs, kernel {result["kernel"]}

From exec to the line "protecting", and to the first PONG. Memory is that of all processes, pages that they share
counted once. Medians, the lowest and the highest; the ratios are ours to clamd's, of medians.

{"":20}{"s":>9}{"from-to":>16}{"MB":>9}"""
    )
    for name, taken in seconds.items():
        print(f"{name:<20}{median(taken):9.2f}{f'{min(taken):.2f}-{max(taken):.2f}':>16}{median(kb[name]) / 1024:9.0f}")
    ratios = [median(figures["holdfast"]) / median(figures["clamd"]) for figures in (seconds, kb)]
    print(f"{'ratio':<20}{ratios[0]:9.3f}{'':16}{ratios[1]:9.3f}")
