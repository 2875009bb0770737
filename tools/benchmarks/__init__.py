# SPDX-License-Identifier: GPL-2.0-only
"""
What tools/bench measures:

work          everyday work, unprotected, with holdfast and with clamd + clamonacc: the verb and its rounds
  stage       where it is measured: volumes, services, the deadline, and whether they still protect
  opens       parts of it that are nothing but open()
  chores      parts that are what people do: archives, git, a compiler, programs
  fullset     parts with a full-size set of signatures
  growth      the part that has up to a million files
  figures     what comes of it: a table, a plot, and what had been aimed at
scans         holdfast scan and full scans beside clamdscan
walks         the memory of scans of many files
starts        how long a start takes
reloads       what opens and memory see of new signatures
ground        what all of them stand on
clam          clamd and clamonacc
open.c        touches protected files; scan.c is nothing but libclamav

Volumes, services and the keeper, who cleans up whatever becomes of this process, are those of the system tests.
"""
import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("HOLDFAST_BUILD", str(TOP / "build-bench"))
sys.path.insert(0, str(TOP / "tests" / "system"))
