# SPDX-License-Identifier: GPL-2.0-only
"""
Does to protected files what the tests ask for, so that the tests themselves never wait in open().

A request is a dictionary on standard input: what to do, as whom. Replies are dictionaries, a line each. They are
written as Python does, and little is imported: a test starts many of these, and most of their time is their start.
"""
import errno
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

PR_SET_DUMPABLE = 4


def reply(**fields):
    print(ascii(fields), flush=True)


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


def told(content):
    """What a reply says of what was read: the content itself, or of a large one its hash."""
    if len(content) <= 65536:
        return {"content": content, "sha256": None}
    import hashlib

    return {"content": None, "sha256": hashlib.sha256(content).hexdigest()}


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
        reply(path=path, error=error, **told(content))


def act_crowd(path, n):
    """Opens a path n times at once, and tells how often which answer came."""
    import threading

    answers, lock = {}, threading.Lock()

    def read():
        error, _ = read_whole(path)
        with lock:
            answers[error] = answers.get(error, 0) + 1

    threading.stack_size(65536)
    threads = [threading.Thread(target=read) for _ in range(n)]
    reply(about="crowd")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reply(answers=answers)


def act_hammer(clean, infected, rest=0):
    """
    Opens over and over until standard input ends: clean files must always, infected ones never be readable. Tells
    what was not so, and how long the opens took, in seconds. Between two rounds it rests for so many seconds.
    """
    import array
    import select
    import time

    refused, leaked, times = [], [], array.array("f")

    def read_timed(path):
        began = time.monotonic()
        error, _ = read_whole(path)
        times.append(time.monotonic() - began)
        return error

    reply(about="hammer")
    while not select.select([0], [], [], 0)[0]:
        for path in clean:
            if error := read_timed(path):
                refused.append(f"{path}: {error}")
        for path in infected:
            if (error := read_timed(path)) != "EPERM":
                leaked.append(f"{path}: {error or 'was readable'}")
        time.sleep(rest)
    order = sorted(times)
    reply(
        opens=len(order),
        refused=refused[:10],
        leaked=leaked[:10],
        wrong=[len(refused), len(leaked)],
        p99=order[len(order) * 99 // 100] if order else 0,
        slowest=order[-1] if order else 0,
    )


def act_overtake(paths, clean, infected, seconds):
    """
    Opens a clean file, makes it malware and closes it as soon as the open is answered. At once another process,
    which stands ready, opens it: it must never read the malware.
    """
    import mmap
    import time

    turn = mmap.mmap(-1, mmap.PAGESIZE)  # 0: the writer's; otherwise the reader's, with the path of this number
    done, writer = 255, os.getpid()

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
        os.write(file, clean)
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


class SystemCalls:
    """syscalls.py, for those who need it."""

    def __getattr__(self, name):
        import syscalls

        return getattr(syscalls, name)


def act_write(steps):
    """
    Carries out steps on files: a list of [function, arguments...]. Descriptors and mappings get names, so that a
    writer can be described that opened its file long before it writes.

    ["try", function, ...] is the step that all is about: whether it succeeds is told, and what it opened can be
    read afterwards. ["optional", errors, function, ...] is one that not every machine and filesystem knows.
    """
    syscalls = SystemCalls()
    files, maps, rings, content = {}, {}, [], []

    def wait():
        """Until the test says so."""
        reply(about="wait")
        sys.stdin.readline()

    def flags_of(names):
        flags = 0
        for name in names:
            flags |= getattr(os, name)
        return flags

    def make_directories(path):
        """Also where the whole path is longer than any that the kernel takes: it ends up there."""
        for name in path.split("/"):
            os.mkdir(name)
            os.chdir(name)

    def open_often(path, count):
        for _ in range(count):
            os.close(os.open(path, os.O_RDONLY))

    def map_file(name):
        import mmap

        maps[name] = mmap.mmap(files[name], 0)

    def lease(name):
        import fcntl
        import signal

        signal.signal(signal.SIGIO, signal.SIG_IGN)  # that somebody wants the file is nothing to end for
        fcntl.fcntl(files[name], fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def read(name):
        with open(files[name], "rb", buffering=0, closefd=False) as file:
            content.append(file.read())

    functions = {
        # ways to a descriptor
        "open": lambda name, path, flags: files.update({name: os.open(path, flags_of(flags), 0o644)}),
        "reopen": lambda name, other, flags: files.update(
            {name: os.open(f"/proc/self/fd/{files[other]}", flags_of(flags))}
        ),
        "open_by_handle": lambda name, directory, path: files.update(
            {name: syscalls.open_by_handle(files[directory], path, os.O_RDONLY)}
        ),
        "ring": lambda: rings.append(syscalls.Ring()),
        "ring_open": lambda name, path: files.update({name: rings[0].open(path, os.O_RDONLY)}),
        "open_often": open_often,
        "close": lambda name: os.close(files.pop(name)),
        # content
        "read": read,
        "write": lambda name, content: os.write(files[name], content),
        "pwrite": lambda name, content: os.pwrite(files[name], content, 0),
        "write_direct": lambda name, content: syscalls.write_direct(files[name], content),
        "write_by_aio": lambda name, content: syscalls.write_by_aio(files[name], content),
        "write_by_ring": lambda name, content: rings[0].write(files[name], content),
        "truncate": lambda name, size: os.ftruncate(files[name], size),
        "punch_hole": lambda name, offset, length: syscalls.punch_hole(files[name], offset, length),
        "collapse_range": lambda name, offset, length: syscalls.collapse_range(files[name], offset, length),
        "copy_range": lambda source, name, size: os.copy_file_range(files[source], files[name], size, 0, 0),
        "sendfile": lambda source, name, size: os.sendfile(files[name], files[source], 0, size),
        "splice": lambda source, name, size: syscalls.splice(files[source], files[name], size),
        "clone": lambda source, name: syscalls.clone(files[source], files[name]),
        "map": map_file,
        "store": lambda name, content: maps[name].__setitem__(slice(0, len(content)), content),
        "sync": lambda name: maps[name].flush(),
        "unmap": lambda name: maps.pop(name).close(),
        "lease": lease,
        # names
        "rename": os.rename,
        "exchange": lambda one, other: syscalls.exchange(one, other),
        "unlink": os.unlink,
        "mkdir": os.mkdir,
        "make_directories": make_directories,
        "link": os.link,
        "link_descriptor": lambda name, path: syscalls.link_descriptor(files[name], path),
        # places
        "chdir": os.chdir,
        "chroot": os.chroot,
        "unshare_mounts": lambda: syscalls.unshare_mounts(),
        "mount": lambda *how: syscalls.mount(*how),
        "mount_fuse": lambda name, path: syscalls.mount_fuse(files[name], path),
        "pivot_root": lambda path: syscalls.pivot_root(path),
        "wait": wait,
    }
    for function, *arguments in steps:
        trying, accepted = function == "try", []
        if function == "optional":
            accepted, function, *arguments = arguments
        elif trying:
            function, *arguments = arguments
        try:
            functions[function](*arguments)
        except OSError as error:
            if trying:
                reply(error=None, step=function, tried=name_of(error), **told(b""))
            else:
                reply(error=name_of(error), step=function, unknown=name_of(error) in accepted)
            return
    reply(error=None, step=None, tried=None, **told(content[-1] if content else b""))


ACTIONS = {
    "read": act_read,
    "crowd": act_crowd,
    "hammer": act_hammer,
    "overtake": act_overtake,
    "execute": act_execute,
    "write": act_write,
}

if __name__ == "__main__":
    request = eval(sys.stdin.readline(), {"__builtins__": {}})
    become(request["user"])
    ACTIONS[request["action"]](**request["arguments"])
