# SPDX-License-Identifier: GPL-2.0-only
"""
Does to protected files what the tests ask for, so that the tests themselves never wait in open().

A request is one JSON object on standard input: what to do, as whom. Replies are JSON, a line each.
"""
import errno
import hashlib
import json
import os
import sys

PR_SET_DUMPABLE = 4


def reply(**fields):
    print(json.dumps(fields), flush=True)


def become(user):
    """user: [uid, gid, dumpable], or None to stay root."""
    if not user:
        return
    uid, gid, dumpable = user
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    import ctypes

    # Changing the uid has made this process non-dumpable: root owns its directory in /proc.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def name_of(error):
    return errno.errorcode.get(error.errno, str(error.errno))


def read_whole(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return None, file.read()
    except OSError as error:
        return name_of(error), b""


def act_read(paths):
    """Opens and reads each path; "about" says that the next thing is an open that may be held."""
    for path in paths:
        reply(about=path)
        error, content = read_whole(path)
        reply(
            path=path,
            error=error,
            sha256=hashlib.sha256(content).hexdigest(),
            content=content.hex() if len(content) <= 65536 else None,
        )


def act_hammer(clean, infected):
    """Opens over and over until standard input ends: clean files must always, infected ones never be readable."""
    import select

    opens, refused, leaked = 0, [], []
    reply(about="hammer")
    while not select.select([0], [], [], 0)[0]:
        for path in clean:
            error, _ = read_whole(path)
            if error:
                refused.append(f"{path}: {error}")
        for path in infected:
            error, _ = read_whole(path)
            if error != "EPERM":
                leaked.append(f"{path}: {error or 'was readable'}")
        opens += len(clean) + len(infected)
    reply(opens=opens, refused=refused[:10], leaked=leaked[:10])


def act_overtake(paths, clean, infected, seconds):
    """
    Opens a clean file, makes it malware and closes it as soon as the open is answered. At once another process,
    which stands ready, opens it: it must never read the malware.
    """
    import mmap
    import time

    turn = mmap.mmap(-1, mmap.PAGESIZE)  # 0: the writer's; otherwise the reader's, with the path of this number
    done, writer = 255, os.getpid()
    infected = bytes.fromhex(infected)

    def read_when_told():
        leaked = 0
        while (number := turn[0]) != done and os.getppid() == writer:
            if number:
                leaked += read_whole(paths[number - 1])[1] == infected
                turn[0] = 0
            os.sched_yield()
        os._exit(min(leaked, 255))

    reader = os.fork() or read_when_told()
    rounds, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        number = rounds % len(paths)
        file = os.open(paths[number], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        os.write(file, bytes.fromhex(clean))
        os.close(file)
        file = os.open(paths[number], os.O_RDWR)
        os.pwrite(file, infected, 0)
        os.close(file)
        turn[0] = number + 1
        while turn[0]:
            os.sched_yield()
        os.unlink(paths[number])
        rounds += 1
    turn[0] = done
    reply(rounds=rounds, leaked=os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]))


def act_execute(argv):
    """Runs a program; says why it could not be started, or how it ended."""
    import subprocess

    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        reply(error=name_of(error), status=None, output="")
    else:
        reply(error=None, status=done.returncode, output=(done.stdout + done.stderr).decode(errors="replace"))


def act_write(steps):
    """
    Carries out steps on files: a list of [function, arguments...]. Descriptors and mappings get names, so that a
    writer can be described that opened its file long before it writes.
    """
    import fcntl
    import mmap
    import signal

    files, maps = {}, {}
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # that somebody wants a leased file is nothing to end for

    def wait():
        """Until the test says so."""
        reply(about="wait")
        sys.stdin.readline()

    functions = {
        "open": lambda name, path, flags: files.update(
            {name: os.open(path, sum(getattr(os, flag) for flag in flags), 0o644)}
        ),
        "write": lambda name, content: os.write(files[name], bytes.fromhex(content)),
        "truncate": lambda name, size: os.ftruncate(files[name], size),
        "copy_range": lambda source, name, size: os.copy_file_range(files[source], files[name], size, 0, 0),
        "close": lambda name: os.close(files.pop(name)),
        "map": lambda name: maps.update({name: mmap.mmap(files[name], 0)}),
        "store": lambda name, content: maps[name].__setitem__(
            slice(0, len(content) // 2), bytes.fromhex(content)
        ),
        "lease": lambda name: fcntl.fcntl(files[name], fcntl.F_SETLEASE, fcntl.F_WRLCK),
        "unmap": lambda name: maps.pop(name).close(),
        "rename": os.rename,
        "unlink": os.unlink,
        "mkdir": os.mkdir,
        "link": os.link,
        "wait": wait,
    }
    for function, *arguments in steps:
        try:
            functions[function](*arguments)
        except OSError as error:
            reply(error=name_of(error), step=function)
            return
    reply(error=None, step=None)


ACTIONS = {
    "read": act_read,
    "hammer": act_hammer,
    "overtake": act_overtake,
    "execute": act_execute,
    "write": act_write,
}

if __name__ == "__main__":
    request = json.loads(sys.stdin.readline())
    become(request["user"])
    ACTIONS[request["action"]](**request["arguments"])
