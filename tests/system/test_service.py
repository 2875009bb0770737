# SPDX-License-Identifier: GPL-2.0-only
"""What the service owes those who run it: a log that does not grow for ever, and word to the service manager."""
import re
import socket

import pytest
from harness import CLEAN, EICAR, NOBODY, PATIENCE, open_as, wait_until


def test_the_log_file_is_put_away_when_it_is_full_and_no_line_is_lost(place, volume):
    paths = [volume.write(f"{i:02}-" + "x" * 100, EICAR) for i in range(40)]
    service = place.start(include=volume.path, alerts={"log-file-max-size": "4K"})
    old = service.log.with_name(service.log.name + ".1")
    for path in paths[:30]:
        assert open_as(NOBODY, path).error == "EPERM"

    wait_until(old.exists, "the full log was renamed")
    service.expect_found(paths[29])
    lines = (old.read_text() + service.log.read_text()).splitlines()
    found = [line for line in lines if line.endswith(" FOUND")]
    assert all(re.match(r"\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} -> /", line) for line in found)
    # Only one old file is kept: with 30 lines of about 200 bytes there were two at most before it.
    assert len(found) >= 4096 // 250
    assert old.stat().st_size <= 4096 and service.log.stat().st_size <= 4096
    told = [line.split(" -> ")[1].split(":")[0] for line in found]
    assert told == [str(path) for path in paths[30 - len(told) : 30]], "the lines that are left follow each other"


class Manager:
    """The service manager's end of sd_notify()."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE)

    def hear(self, word):
        """Waits for a message that has this assignment."""
        while word not in (text := self.socket.recv(4096).decode()).splitlines():
            pass
        return text


@pytest.fixture
def manager(place):
    manager = Manager(place.base / "notify")
    yield manager
    manager.socket.close()


def test_the_service_manager_is_told_when_files_are_protected(place, volume, manager):
    volume.write("clean", CLEAN)
    service = place.start(include=volume.path, environment={"NOTIFY_SOCKET": str(place.base / "notify")})
    assert "STATUS=protecting" in manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    assert service.stop() == 0
    manager.hear("STOPPING=1")


def test_a_service_manager_that_does_not_listen_keeps_nobody_waiting(place, volume, manager):
    """Its buffer runs full; it may be waiting for one of our answers."""
    clean = volume.write("clean", CLEAN)
    service = place.start(include=volume.path, environment={"NOTIFY_SOCKET": str(place.base / "notify")})
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    filler.connect(str(place.base / "notify"))
    with pytest.raises(BlockingIOError):
        while True:
            filler.send(b"x" * 100)
    filler.close()
    assert open_as(NOBODY, clean).content == CLEAN
    service.reload()
    assert service.stop() == 0
