# SPDX-License-Identifier: GPL-2.0-only
"""
The killer that stands by from before the first mark until after the last.

A guard that hangs would hang the test that has to notice, so somebody must be left who can end it: this
process opens nothing but /proc, which nobody puts a mark on. It is told on its standard input, a line each:

    token TOKEN       processes with this value in their environment are services of a test
    mount PATH        a filesystem that a test has mounted
    directory PATH    what a test works in
    forget PATH       it has unmounted or removed this
    deadline SECONDS  end all services then (0: no deadline)

and it answers "fired" when it has done so. When its input ends, the tests are gone, well or not: what is left
of services and mounts is removed.
"""
import os
import select
import shutil
import signal
import subprocess
import sys
import time

TOKEN_VARIABLE = "HOLDFAST_TEST_TOKEN"


def tagged(tokens):
    """The processes that inherited one of these tokens, as {pid: token}. Zombies have no environment left."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environ:
                variables = environ.read().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            key, _, value = variable.partition(b"=")
            if key == TOKEN_VARIABLE.encode() and value.decode() in tokens:
                found[int(name)] = value.decode()
    return found


def kill_all(tokens):
    """What forks meanwhile is found the next time round."""
    while pids := tagged(tokens):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


class Keeper:
    def __init__(self):
        self.tokens, self.mounts, self.directories = set(), [], []
        self.deadline = None

    def obey(self, line):
        word, _, argument = line.partition(" ")
        if word == "token":
            self.tokens.add(argument)
        elif word == "mount":
            self.mounts.append(argument)
        elif word == "directory":
            self.directories.append(argument)
        elif word == "forget":
            (self.mounts if argument in self.mounts else self.directories).remove(argument)
        elif word == "deadline":
            self.deadline = time.monotonic() + float(argument) if float(argument) else None

    def run(self):
        pending = b""
        while True:
            wait = None if self.deadline is None else max(0, self.deadline - time.monotonic())
            if not select.select([0], [], [], wait)[0]:
                kill_all(self.tokens)
                self.deadline = None
                print("fired", flush=True)
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.obey(line.decode())

    def clean_up(self):
        kill_all(self.tokens)
        for path in reversed(self.mounts):
            subprocess.run(["umount", "--lazy", path], check=False, stderr=subprocess.DEVNULL)
        for path in self.directories:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    keeper = Keeper()
    keeper.run()
    keeper.clean_up()
    sys.exit(0)
