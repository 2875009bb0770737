# SPDX-License-Identifier: GPL-2.0-only
"""How much memory scans of 1,000 and of 1,000,000 files take."""
import os
import re
from contextlib import closing
from pathlib import Path

from harness import BUILD, KeeperProcess, Place, run

from .ground import timed

WALKED = (1_000, 1_000_000)  # files


def peak_memory(pid):
    """The most that a process ever had in memory, in KB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])


def make_many(place, n):
    """Empty files, a thousand in each directory: there is nothing to do but to find them."""
    directory = place.base / f"walked{n}"
    directory.mkdir()
    place.keeper.tell("mount", directory)
    run("mount", "-t", "tmpfs", "-o", "nr_inodes=0", "tmpfs", directory)
    for i in range(n):
        if i % 1000 == 0:
            (directory / str(i // 1000)).mkdir()
        os.mknod(directory / str(i // 1000) / str(i))
    return directory


def walk_with_client(service, directory):
    """At most the peak of holdfast scan, in KB: what this process takes, which begins it, is the least that it can be."""
    argv = [BUILD / "src" / "holdfast", "--config", service.config, "scan", "--no-summary", directory]
    pid = os.posix_spawn(argv[0], [str(word) for word in argv], os.environ)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, f"holdfast scan ended with status {status}"
    return usage.ru_maxrss


def walk_with_guard(place, directory):
    """The peak of a guard before and after a full scan, in KB."""
    volume = place.volume("ext4")
    service = place.start(include=volume.path, full_scan={"path": directory})
    guard = service.pid("guard")
    before = peak_memory(guard)
    timed(BUILD / "src" / "holdfast", "--config", service.config, "scan", "--full", "--wait")
    return before, peak_memory(guard)


def bench_walks(options):
    with closing(KeeperProcess()) as keeper, closing(Place(keeper)) as place:
        volume = place.volume("ext4")
        service = place.start(include=volume.path)
        directories = [make_many(place, n) for n in WALKED]
        result = [
            {
                "files": n,
                "client_kb": walk_with_client(service, directory),
                "guard_kb": walk_with_guard(place, directory),
            }
            for n, directory in zip(WALKED, directories)
        ]
        for directory in directories:
            run("umount", directory)
        return result


def print_walks(result):
    print("peak memory in KB:")
    for line in result:
        before, after = line["guard_kb"]
        print(
            f"{line['files']:>9} files: holdfast scan at most {line['client_kb']}; guard {before} before its full scan, "
            f"{after} after"
        )
