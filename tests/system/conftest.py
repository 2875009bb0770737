# SPDX-License-Identifier: GPL-2.0-only
import os
import pwd
import signal
import subprocess

import pytest
from harness import ALL_FILESYSTEMS, BUILD, CLEAN, EICAR, FILESYSTEMS, USER, KeeperProcess, Place, program
from mirror import Mirror

DEADLINE = 90


def pytest_configure(config):
    # So that a run that is ended from outside cleans up as one that is interrupted from the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def machine():
    """What the tests need of the machine."""
    assert os.geteuid() == 0, "the system tests must be run by root: only root can make a fanotify group"
    assert program("holdfastd").exists(), f"there is no built holdfastd in {BUILD}; set HOLDFAST_BUILD"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", USER], check=True)


@pytest.fixture(scope="session")
def keeper(machine):
    keeper = KeeperProcess()
    yield keeper
    keeper.close()


@pytest.fixture(autouse=True)
def deadline(keeper, request):
    """No test may hang: the keeper ends its services when it takes too long."""
    marker = request.node.get_closest_marker("deadline")
    keeper.tell("deadline", marker.args[0] if marker else DEADLINE)
    yield
    keeper.tell("deadline", 0)
    assert not keeper.has_fired(), "the test took too long, and its services were killed"


@pytest.fixture
def place(keeper, deadline):
    place = Place(keeper)
    yield place
    place.close()


@pytest.fixture
def volume(place, request):
    """A filesystem of its own: tmpfs, or what the test asks for."""
    return place.volume(getattr(request, "param", "tmpfs"))


@pytest.fixture
def infected(volume):
    return volume.write("home/eicar", EICAR)


@pytest.fixture
def clean(volume):
    return volume.write("home/clean", CLEAN)


@pytest.fixture
def mirrors(place):
    """Makes mock mirrors, each with a directory of its own that it serves; see mirror.py."""
    running = []

    def make(**options):
        directory = place.base / f"mirror{len(running)}"
        directory.mkdir()
        running.append(Mirror(directory, **options).__enter__())
        return running[-1]

    yield make
    for mirror in running:
        mirror.__exit__()


@pytest.fixture
def mirror(mirrors):
    return mirrors()


def pytest_generate_tests(metafunc):
    """A test that says so with a marker runs on each kind of filesystem."""
    if metafunc.definition.get_closest_marker("every_filesystem"):
        metafunc.parametrize("volume", FILESYSTEMS, indirect=True)
    if metafunc.definition.get_closest_marker("all_filesystems"):
        metafunc.parametrize("volume", ALL_FILESYSTEMS, indirect=True)
