# SPDX-License-Identifier: GPL-2.0-only
"""A short run of tools/chaos: whatever happens to the service, no open is answered wrongly, and none hangs."""
import signal
import subprocess
import sys

import pytest
from harness import BUILD, REPOSITORY, is_sanitized

# It stands under a deadline of its own. What it is killed by leaves nothing: its mounts are in its own namespace.
LIMIT = 400


@pytest.mark.deadline(LIMIT + 30)
@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_nothing_hangs_and_nothing_slips_through(machine, policy):
    # A process takes ten times as long to start and to crash with the sanitizers: faults would pile up.
    pace = ("--every", "2") if is_sanitized() else ()
    chaos = subprocess.Popen(
        [sys.executable, "-B", REPOSITORY / "tools" / "chaos", "--build", BUILD, "--short", "--policy", policy, *pace],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = chaos.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        chaos.send_signal(signal.SIGTERM)
        output, _ = chaos.communicate(timeout=60)
        pytest.fail(f"it did not end:\n{output}")
    assert chaos.returncode == 0, output
