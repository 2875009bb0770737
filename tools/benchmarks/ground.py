# SPDX-License-Identifier: GPL-2.0-only
"""What everything that is measured stands on."""
import argparse
import os
import platform
import pwd
import re
import subprocess
import sys
import time
from pathlib import Path

from harness import BUILD, EICAR, USER, open_as

from . import TOP

START_PATIENCE = 600  # seconds, for all signatures there are


def execute(*argv):
    """Standard output is for the result."""
    subprocess.run([str(word) for word in argv], stdout=sys.stderr, check=True)


def build():
    execute(TOP / "tools" / "dependencies", "build")
    if not (BUILD / "build.ninja").exists():
        execute("meson", "setup", BUILD, TOP, "--buildtype=release")
    execute("ninja", "--quiet", "-C", BUILD)
    try:
        pwd.getpwnam(USER)
    except KeyError:
        execute("useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", USER)


def compile_program(place, name, *libraries):
    """One of the C programs of this directory."""
    program = place.base / name
    execute("cc", "-std=c17", "-O2", "-Wall", "-o", program, Path(__file__).with_name(f"{name}.c"), *libraries)
    return program


def say(text):
    """Progress, and what goes wrong."""
    print(text, file=sys.stderr, flush=True)


def machine():
    return {"cpus": os.cpu_count(), "kernel": platform.release()}


def make_volume(place, **options):
    """With malware in what is to be protected."""
    volume = place.volume("ext4", **options)
    volume.write("protected/eicar", EICAR)
    return volume


def refuses_malware(volume):
    return open_as("root", volume / "protected/eicar").error == "EPERM"


def timed(*argv):
    began = time.monotonic()
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return took


def proportional_memory(pids):
    """Of processes that share pages: each page once, in KB."""
    return sum(int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) for pid in pids)


def pids_of(service):
    return sorted(process.pid for process in service.processes())


def memory_of_all(service):
    """In KB. None where a process came or went meanwhile: what it shared with another may have been counted twice."""
    pids = pids_of(service)
    try:
        total = proportional_memory(pids)
    except (OSError, TypeError):
        return None
    return total if pids_of(service) == pids else None


def at_least_one(text):
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
