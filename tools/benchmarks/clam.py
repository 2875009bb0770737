# SPDX-License-Identifier: GPL-2.0-only
"""clamd and clamonacc."""
import os
import re
import shutil
import socket
import subprocess
import uuid

from harness import PATIENCE, wait_until
from keeper import TOKEN_VARIABLE

from . import TOP
from .ground import START_PATIENCE

USER = "clamav"  # as whom Debian's clamd runs


class Clam:
    """clamd and clamonacc with a configuration and signatures of their own. A service, as a Place wants it."""

    def __init__(self, place, protected=None, signatures=None):
        self.directory = place.base / f"clam{len(place.services)}"
        self.socket, self.log = self.directory / "socket", self.directory / "log"
        self.processes = []
        self.token = uuid.uuid4().hex
        place.keeper.tell("token", self.token)
        place.services.append(self)

        self.directory.mkdir()
        if not signatures:
            signatures = self.directory / "signatures"
            signatures.mkdir()
            shutil.copy(TOP / "config" / "eicar.ndb", signatures)
        shutil.chown(self.directory, USER)
        self.config = self.directory / "clamd.conf"
        self.config.write_text(
            f"""\
LocalSocket {self.socket}
User {USER}
LogFile {self.log}
DatabaseDirectory {signatures}
TemporaryDirectory {self.directory}
Foreground yes
SelfCheck 0
"""
        )
        if protected:
            with open(self.config, "a", encoding="utf-8") as config:
                config.write(
                    f"""OnAccessPrevention yes
OnAccessIncludePath {protected}
OnAccessExcludeUname {USER}
OnAccessMaxFileSize 100M
"""
                )
        self.protected = protected

    def launch(self, *argv):
        with open(self.directory / "output", "ab") as output:
            process = subprocess.Popen(
                [*argv, "--config-file", self.config],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, TOKEN_VARIABLE: self.token},
                cwd="/",
                start_new_session=True,
            )
        self.processes.append(process)

    def answers(self):
        assert self.processes[0].poll() is None, f"clamd has ended:\n{self.says()}"
        try:
            with socket.socket(socket.AF_UNIX) as clamd:
                clamd.connect(str(self.socket))
                clamd.sendall(b"zPING\0")
                return clamd.recv(16) == b"PONG\0"
        except OSError:
            return False

    def start(self):
        self.launch("clamd")
        wait_until(self.answers, "clamd answers", START_PATIENCE)
        if self.protected:
            self.launch("clamonacc", "--foreground", "--fdpass", f"--log={self.directory / 'clamonacc.log'}")
        return self

    def says(self):
        logs = (self.directory / name for name in ("output", "log", "clamonacc.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())

    def count_signatures(self):
        return int(re.search(r"Loaded (\d+) signatures", self.says())[1])

    def finish(self):
        """clamonacc first, which holds opens while it asks clamd."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def missing_of_clam():
    """What is not installed, for people; empty: nothing."""
    missing = [name for name in ("clamd", "clamonacc", "clamdscan") if not shutil.which(name)]
    return f"{', '.join(missing)} not installed, left out: apt install clamav-daemon clamdscan" if missing else ""
