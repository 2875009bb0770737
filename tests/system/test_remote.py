# SPDX-License-Identifier: GPL-2.0-only
"""
FUSE filesystems, which stand for all that is served by somebody else: left alone, unless configured. bindfs shows a
directory, of a filesystem that nothing marks, under another path.
"""
import os
import shutil
import signal
import subprocess

import pytest
from harness import CLEAN, EICAR, NOBODY, create, expect_protection, open_as, run, start_open, wait_until


@pytest.fixture
def served(place, volume):
    """A FUSE filesystem below the include path, with a clean and an infected file; its process is served.process."""
    if not shutil.which("bindfs") or not os.path.exists("/dev/fuse"):
        pytest.skip("there is no bindfs or no /dev/fuse here")
    behind = place.volume()
    behind.write("eicar", EICAR)
    behind.write("clean", CLEAN)
    served = Served(behind.path, volume / "home/served")
    yield served
    served.close()


class Served:
    def __init__(self, behind, path):
        self.behind, self.path = behind, path
        self.process = None
        path.mkdir(parents=True)

    def mount(self):
        self.process = subprocess.Popen(
            ["bindfs", "-f", "-o", "allow_other,entry_timeout=600,attr_timeout=600", self.behind, self.path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.path.is_mount, "bindfs has mounted")
        return self

    def close(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        if self.process.poll() is None:
            subprocess.run(["umount", self.path], check=False)
            self.process.wait(timeout=10)


def place_of(service, path):
    return next((mount for mount in service.status()["mounts"] if mount["path"] == str(path)), None)


def test_a_fuse_filesystem_below_an_include_path_is_left_alone(place, volume, infected, clean, served):
    served.mount()
    service = place.start(include=volume / "home")
    assert open_as(NOBODY, served.path / "eicar").content == EICAR
    left = place_of(service, served.path)
    assert not left["watched"] and "remote-filesystems" in left["error"]
    assert service.status()["protecting"], "it was asked for"
    expect_protection(infected, clean)


@pytest.mark.parametrize("mounted", ["before", "while it runs"])
def test_a_fuse_filesystem_is_protected_where_that_is_configured(place, volume, infected, clean, served, mounted):
    if mounted == "before":
        served.mount()
    service = place.start(include=volume / "home", remote_filesystems="yes")
    if mounted != "before":
        served.mount()
    wait_until(lambda: (there := place_of(service, served.path)) and there["watched"], "it is marked")
    expect_protection(infected, clean)
    expect_protection(served.path / "eicar", served.path / "clean")
    service.expect_found(served.path / "eicar")

    before = service.status()["counters"]["verdicts"]["clean"]
    for _ in range(3):
        assert open_as(NOBODY, served.path / "clean").content == CLEAN
    assert service.status()["counters"]["verdicts"]["clean"] == before + 3, "what may change unseen was remembered"

    # Behind it, where nobody sees.
    (served.behind / "clean").write_bytes(EICAR)
    assert open_as(NOBODY, served.path / "clean").error == "EPERM"
    run("umount", served.path)
    wait_until(lambda: place_of(service, served.path) is None, "it is no longer listed")


def test_a_server_that_does_not_answer_at_start_delays_nobody(place, volume, infected, clean, served):
    served.mount()
    os.kill(served.process.pid, signal.SIGSTOP)
    service = place.start(include=volume / "home", remote_filesystems="yes")
    expect_protection(infected, clean)
    os.kill(served.process.pid, signal.SIGCONT)
    wait_until(lambda: place_of(service, served.path)["watched"], "it is marked once its server answers")
    assert open_as(NOBODY, served.path / "eicar").error == "EPERM"


def test_an_open_that_its_server_does_not_answer_ends_with_the_guard_and_not_never(
    place, volume, infected, clean, served
):
    """The price of configuring it: the guard hangs with the open, and is replaced."""
    served.mount()
    service = place.start(include=volume / "home", remote_filesystems="yes")
    service.disturbed = True
    wait_until(lambda: place_of(service, served.path)["watched"], "it is marked")
    assert open_as(NOBODY, served.path / "clean").content == CLEAN, "and the kernel has looked it up"
    os.kill(served.process.pid, signal.SIGSTOP)
    opener = place.keep(start_open(NOBODY, served.path / "clean"))
    service.expect(r"a standby took over")
    expect_protection(infected, clean)
    os.kill(served.process.pid, signal.SIGCONT)
    assert opener.opened().error in (None, "EPERM")
