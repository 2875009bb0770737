# SPDX-License-Identifier: GPL-2.0-only
"""What opens and memory see of new signatures that take over, with a full-size set."""
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from harness import CLEAN, NOBODY, Actor, KeeperProcess, Place, open_as, send_signal, wait_until

from . import TOP
from .ground import START_PATIENCE, execute, machine, make_volume, memory_of_all, say

# Comes and goes with reloads.
MARKER = b"holdfast-bench-marker-2f60"
MARKER_SIGNATURE = f"Marker.Bench:0:*:{MARKER.hex()}\n"

RELOADS = ("parallel", "lean")
RELOADED = 20  # clean files that are opened over and over
SAMPLE_EVERY = 0.25  # seconds: looking through so much memory takes a while itself


def copy_set(place, options):
    """The signatures, where a file may be put beside them: what was given is not written to."""
    execute(TOP / "tools" / "bench-signatures", options.set)
    directory = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp"))
    place.keeper.tell("directory", directory)
    directory.chmod(0o755)
    for path in options.set.iterdir():
        shutil.copy(path, directory)
    return directory


class Meter:
    """The most that a service's processes have in memory together, while it runs."""

    def __init__(self, service):
        self.service, self.peak, self.ended = service, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(SAMPLE_EVERY):
            self.peak = max(self.peak, memory_of_all(self.service) or 0)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def start_hammers(place, volume):
    clean = [str(volume.write(f"protected/clean{i}", CLEAN + b"%d" % i)) for i in range(RELOADED)]
    infected = [str(volume / "protected/eicar")]
    return [
        place.keep(Actor("hammer", user, clean=clean, infected=infected)).wait_for_about()
        for user in (NOBODY, "root")
    ]


def reload_once(service, marked, i):
    """Returns how long it took; and 1 where the file that came into or went out of what is found is not treated so."""
    after, began = service.position(), time.monotonic()
    service.write_signatures({"reload.ndb": f"# {i}\nOther:0:*:{i:032x}\n" + (MARKER_SIGNATURE if i % 2 else "")})
    send_signal(service.process.pid, signal.SIGHUP)
    service.expect("configuration and signatures reloaded", after, START_PATIENCE)
    took = time.monotonic() - began
    return took, int((open_as("root", marked).error == "EPERM") != bool(i % 2))


def start_with_set(place, volume, mode, directory):
    service = place.service(
        include=volume / "protected",
        hold_timeout="5m",
        engine={"workers": "auto", "reload": mode, "signatures": directory},
    )
    service.signatures = directory
    service.launch()
    service.expect("-> protecting: ", 0, START_PATIENCE)
    service.workers(os.cpu_count() + 1)
    return service


def bench_one_kind(place, options, mode, directory):
    volume = make_volume(place)
    marked = volume.write("protected/marked", MARKER)
    place.keeper.tell("deadline", START_PATIENCE * options.reloads)
    service = start_with_set(place, volume, mode, directory)
    before = wait_until(lambda: memory_of_all(service), "its processes stay the same for a moment")
    hammers = start_hammers(place, volume)
    reloads = []
    with Meter(service) as meter:
        for i in range(1, options.reloads + 1):
            reloads.append(reload_once(service, marked, i))
            say(f"{mode}: reload {i} of {options.reloads}, {reloads[-1][0]:.1f} s")
    results = [hammer.finish()[0] for hammer in hammers]
    status = service.status()
    service.finish()
    (directory / "reload.ndb").unlink()
    assert not place.keeper.has_fired(), "it took too long, and the services were killed"
    place.keeper.tell("deadline", 0)
    return {
        "mode": mode,
        "reloads": options.reloads,
        "signatures": status["signatures"]["count"],
        "seconds": [round(took, 2) for took, _ in reloads],
        "opens": sum(result["opens"] for result in results),
        "refused_wrongly": sum(result["wrong"][0] for result in results),
        "let_through_wrongly": sum(result["wrong"][1] for result in results),
        "not_in_force": sum(wrong for _, wrong in reloads),
        "timeouts": status["counters"]["timeouts"],
        "p99_ms": round(max(result["p99"] for result in results) * 1000, 3),
        "slowest_ms": round(max(result["slowest"] for result in results) * 1000, 1),
        "before_kb": before,
        "peak_kb": meter.peak,
    }


def bench_reloads(options):
    with closing(KeeperProcess()) as keeper, closing(Place(keeper)) as place:
        directory = copy_set(place, options)
        try:
            modes = [bench_one_kind(place, options, mode, directory) for mode in RELOADS]
        finally:
            shutil.rmtree(directory)
            keeper.tell("forget", directory)
    return {**machine(), "modes": modes}


def print_reloads(result):
    print(
        f"""\
reloads under load: {result["modes"][0]["reloads"]} of each kind, {result["modes"][0]["signatures"]} signatures, two processes that open {RELOADED} clean files
and an infected one all the time; ext4 on a loop device, {result["cpus"]} CPUs, kernel {result["kernel"]}

"wrong" are opens refused and opens let through that should not have been, and reloads after which a new signature was
not in force. Memory is the sum of the processes' shares (Pss), sampled every {SAMPLE_EVERY} s, beside what it was
before the first reload.

{"":10}{"reload s":>10}{"from-to":>14}{"opens":>10}{"wrong":>8}{"p99 ms":>9}{"max ms":>10}{"before MB":>11}{"peak MB":>9}{"ratio":>7}"""
    )
    for line in result["modes"]:
        times = line["seconds"]
        wrong = "+".join(str(line[key]) for key in ("refused_wrongly", "let_through_wrongly", "not_in_force"))
        print(
            f"{line['mode']:<10}{median(times):10.1f}{f'{min(times):.1f}-{max(times):.1f}':>14}{line['opens']:10}"
            f"{wrong:>8}{line['p99_ms']:9.2f}{line['slowest_ms']:10.1f}{line['before_kb'] / 1024:11.0f}"
            f"{line['peak_kb'] / 1024:9.0f}{line['peak_kb'] / line['before_kb']:7.2f}"
        )
