# SPDX-License-Identifier: GPL-2.0-only
"""
tools/bench work: everyday work, unprotected, with holdfast, and with clamd + clamonacc, by turns in one run.

Says what each kind costs, and which of the things that had been aimed at were reached. Figures are told and not
judged: it fails only if work failed, something hung, or malware could be read.
"""
import argparse
import json
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path

from harness import BUILD, KeeperProcess, Place

from . import TOP, chores, figures, fullset, growth, opens
from .clam import missing_of_clam
from .ground import at_least_one, build, execute, machine, say
from .stage import Hang, Results, Stage, reachable

# Which parts are measured together, by what is special there.
ONE, FULL, MANY = "one", "full", "many"
STAGES = {
    ONE: (*opens.PARTS, *chores.PARTS, fullset.BesideLibclamav),
    FULL: fullset.PARTS,
    MANY: growth.PARTS,
}
TITLES = {ONE: "test signature only", FULL: "full-size set", MANY: "many files"}
NAMES = list(dict.fromkeys(part.name for parts in STAGES.values() for part in parts))

DEFAULTS = (
    ("--rounds", 5, "how often all of it is done"),
    ("--heavy-rounds", 3, "the same with a full-size set"),
    ("--files", 5000, "files that are opened, extracted, scanned"),
    ("--size", 3000, "bytes in each"),
    ("--copied", 1000, "copy: files"),
    ("--repository", 4000, "git: files"),
    ("--sources", 30, "compile: C files"),
    ("--programs", 1000, "run: programs"),
    ("--tree-files", 3000, "scheduled: files of the full scan"),
    ("--tree-size", 600, "scheduled: MB of the full scan"),
)
GROWTH = (1_000, 10_000, 100_000, 1_000_000)

WORKERS = 4  # with a full-size set, whatever there are of processors

# Only to see that everything works: the figures mean nothing.
QUICK = {
    "rounds": 1,
    "heavy_rounds": 1,
    "files": 300,
    "copied": 100,
    "repository": 200,
    "sources": 5,
    "programs": 100,
    "tree_files": 300,
    "tree_size": 100,
    "growth": (1_000, 10_000),
}


def parse_options(words):
    parser = argparse.ArgumentParser(prog="tools/bench work", description=__doc__.strip().partition("\n")[0])
    for name, default, what in DEFAULTS:
        parser.add_argument(name, type=at_least_one, default=default, metavar="N", help=f"{what} (%(default)s)")
    parser.add_argument("--only", metavar="PART,...", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="little of everything, once: to see that all of it works")
    parser.add_argument("--growth", default=GROWTH, metavar="N,...", help="growth: numbers of files (to a million)")
    parser.add_argument(
        "--set",
        type=Path,
        default=BUILD / "signatures",
        metavar="DIR",
        help="a full-size set of signatures, made where there is none (%(default)s)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an .svg or .png of all ratios; needs gnuplot")
    parser.add_argument("--json", action="store_true", help="print JSON with all samples instead of tables")
    parser.add_argument("--save", type=Path, metavar="FILE", help="and write that JSON there")
    parser.add_argument("--from", dest="saved", type=Path, metavar="FILE", help="show what was saved; measure nothing")
    if "--quick" in words:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(words)
    if isinstance(options.growth, str):
        options.growth = sorted(map(at_least_one, options.growth.split(",")))
    options.only = options.only.split(",") if options.only else NAMES
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"what is {', '.join(unknown)}? {', '.join(NAMES)}")
    return options


def measure_part(stage, part, i):
    """Whether it is worth another round."""
    try:
        part.measure(stage, i)
        stage.check(part, i)
    except Hang:
        raise
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as problem:
        stage.results.blame(f"{part.name}: {problem}")
        return False
    return True


def run_rounds(stage, parts, rounds):
    failed = []
    for i in range(rounds):
        for part in (part for part in parts if part not in failed):
            began = time.monotonic()
            if not measure_part(stage, part, i):
                failed.append(part)
            say(f"{stage.name}, round {i + 1} of {rounds}: {part.name}, {time.monotonic() - began:.1f} s")


def volume_options(options):
    """Of a volume for all that is made on it, with its tables written before anything is measured."""
    each_round = 8 * options.files + 2 * options.copied + 2 * options.repository + options.programs
    inodes = 20_000 + options.rounds * each_round
    blocks = 4096 * (2 + options.size // 4096) * inodes
    size = (512 << 20) + blocks + options.rounds * options.programs * (64 << 10)
    return {"size": size, "mkfs": ("-N", str(inodes), "-E", "lazy_itable_init=0")}


def choose_parts(key, options, results):
    parts = [part(options) for part in STAGES[key] if part.name in options.only]
    for missing in filter(None, (part.missing() for part in parts)):
        results.remark(missing)
    return [part for part in parts if not part.missing()]


def prepare(stage, parts):
    """All that is on the volumes is made before anything is started, so that nobody has seen it."""
    sections = {}
    for part in parts:
        part.prepare(stage)
        sections |= part.configure(stage)
    say(f"{stage.name}: {', '.join(part.name for part in parts)} prepared")
    return sections


def run_stage(key, options, results):
    full = key == FULL
    if full:
        options = argparse.Namespace(**{**vars(options), "rounds": options.heavy_rounds})
        execute(TOP / "tools" / "bench-signatures", options.set)
    parts = choose_parts(key, options, results)
    volume = growth.volume_options(options) if key == MANY else volume_options(options)
    with closing(KeeperProcess()) as keeper, closing(Place(keeper)) as place, ExitStack() as stack:
        stage = Stage(key, TITLES[key], place, options, results, **volume)
        sections = prepare(stage, parts)
        signatures = stack.enter_context(reachable(place, options.set)) if full else None
        for ending in (stage, *parts):
            stack.callback(ending.finish)
        stage.start(signatures, WORKERS if full else "auto", **sections)
        run_rounds(stage, parts, options.rounds)


def run_stages(options):
    results = Results()
    if missing := missing_of_clam():
        results.remark(missing)
    for key, parts in STAGES.items():
        if not {part.name for part in parts} & set(options.only):
            continue
        try:
            run_stage(key, options, results)
        except (AssertionError, OSError, subprocess.SubprocessError) as problem:
            results.blame(f"{TITLES[key]}: {problem}")
    return results


def measure(options):
    began = time.monotonic()
    build()
    results = run_stages(options)
    asked = {name.strip("-").replace("-", "_"): None for name, _, _ in DEFAULTS}
    return {
        **machine(),
        "seconds": round(time.monotonic() - began),
        "quick": options.quick,
        "options": {name: getattr(options, name) for name in asked},
        **results.as_json(),
    }


def main(words):
    """Returns the exit status."""
    options = parse_options(words)
    result = json.loads(options.saved.read_text()) if options.saved else measure(options)
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(figures.text(result))
    if options.plot:
        figures.plot(result, options.plot)
    for line in result["wrong"]:
        say(f"tools/bench: {line}")
    return 1 if result["wrong"] else 0
