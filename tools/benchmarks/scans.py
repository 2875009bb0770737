# SPDX-License-Identifier: GPL-2.0-only
"""How long holdfast scan and clamdscan --multiscan --fdpass take for the same tree, and for it once more."""
import math
import shutil
from contextlib import closing
from pathlib import Path
from statistics import median

from harness import BUILD, KeeperProcess, Place

from .clam import Clam, missing_of_clam
from .ground import machine, say, timed

# The tree that is scanned, of files of /usr. Larger ones are left out: none of them should decide.
TREE_SOURCE, TREE_LARGEST = Path("/usr"), 2_000_000


def choose_files(options):
    """As many files as are wanted, evenly over all sizes there are, then larger ones for small ones up to the size."""
    files = sorted(
        (path.stat().st_size, path)
        for path in TREE_SOURCE.rglob("*")
        if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= TREE_LARGEST
    )
    chosen = [files[math.floor(i * len(files) / options.tree_files)] for i in range(options.tree_files)]
    wanted = options.tree_size << 20
    total = sum(size for size, _ in chosen)
    for i, file in enumerate(reversed(files)):
        if total >= wanted or i >= len(chosen):
            break
        total += file[0] - chosen[i][0]
        chosen[i] = file
    return chosen


def make_tree(place, options):
    """On a volume that nobody watches, so that only scans are measured. A file may be in it twice."""
    volume = place.volume("ext4", size=(options.tree_size * 2 + 256) << 20)
    total = 0
    for i, (size, path) in enumerate(choose_files(options)):
        copy = volume / "tree" / str(i // 100) / f"{i}-{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        total += size
    return volume / "tree", total


def scan_with_holdfast(service, tree):
    """A first scan, as if nothing were known, and another."""
    scan = (BUILD / "src" / "holdfast", "--config", service.config, "scan", tree)
    return timed(*scan, "--all"), timed(*scan)


def full_scan_with_holdfast(service):
    """The same as a full scan of the service, which opens nothing that it knows."""
    scan = (BUILD / "src" / "holdfast", "--config", service.config, "scan", "--full", "--wait", "--no-progress")
    return timed(*scan, "--all"), timed(*scan)


def scan_with_clam(place, tree):
    """The same, of a clamd that has just been started."""
    clam = Clam(place).start()
    scan = ("clamdscan", "--config-file", clam.config, "--multiscan", "--fdpass", tree)
    times = timed(*scan), timed(*scan)
    clam.finish()
    return times


def bench_scans(options):
    missing = missing_of_clam()
    with closing(KeeperProcess()) as keeper, closing(Place(keeper)) as place:
        tree, size = make_tree(place, options)
        protected = place.volume("ext4")
        service = place.start(include=protected.path, engine={"workers": "auto"}, full_scan={"path": tree})
        times = {"holdfast": [], "full scan": [], "clamdscan": []}
        for i in range(options.scan_rounds):
            say(f"round {i + 1} of {options.scan_rounds}")
            times["holdfast"].append(scan_with_holdfast(service, tree))
            times["full scan"].append(full_scan_with_holdfast(service))
            if not missing:
                times["clamdscan"].append(scan_with_clam(place, tree))
    return {
        **machine(),
        "files": options.tree_files,
        "bytes": size,
        "rounds": options.scan_rounds,
        "left_out": [missing] if missing else [],
        "seconds": {product: {"first": [a for a, _ in taken], "again": [b for _, b in taken]}
                    for product, taken in times.items() if taken},
    }


def print_scans(result):
    seconds = result["seconds"]
    print(
        f"""\
scans in s: {result["files"]} files, {result["bytes"] / 1e6:.0f} MB, {result["rounds"]} rounds by turns, ext4 on a loop device,
{result["cpus"]} CPUs, kernel {result["kernel"]}; the EICAR test signature only; page cache warm

"first" is a scan of everything: holdfast scan --all, clamdscan with a clamd that was just started. "again" is the
next one, nothing changed. "full scan" is holdfast scan --full --wait. Medians, the lowest and the highest; ratios are
those of clamdscan's median to ours.

{"":20}{"first":>9}{"from-to":>16}{"again":>9}{"from-to":>16}"""
    )
    for product, taken in seconds.items():
        cells = "".join(f"{median(times):9.3f}{f'{min(times):.3f}-{max(times):.3f}':>16}" for times in taken.values())
        print(f"{product:<20}{cells}")
    for product in ("holdfast", "full scan") if "clamdscan" in seconds else ():
        ratios = [median(seconds["clamdscan"][case]) / median(seconds[product][case]) for case in ("first", "again")]
        print(f"{'ratio, ' + product:<20}{ratios[0]:9.2f}{'':16}{ratios[1]:9.1f}")
    for line in result["left_out"]:
        print(f"\n{line}")
