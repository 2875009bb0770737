# SPDX-License-Identifier: GPL-2.0-only
"""System calls that Python has no function for."""
import ctypes
import errno
import fcntl
import mmap
import os
import struct

LIBC = ctypes.CDLL(None, use_errno=True)

# What has another number on each architecture.
NUMBERS = {
    "x86_64": {"pivot_root": 155, "io_setup": 206, "io_getevents": 208, "io_submit": 209},
    "aarch64": {"pivot_root": 41, "io_setup": 0, "io_getevents": 4, "io_submit": 2},
}.get(os.uname().machine, {})

IO_URING_SETUP, IO_URING_ENTER = 425, 426  # on every architecture

AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
RENAME_EXCHANGE = 2
CLONE_NEWNS = 0x20000
MNT_DETACH = 2
MOUNT_FLAGS = {"bind": 0x1000, "rec": 0x4000, "private": 1 << 18}
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE = 1, 2, 8
FICLONE = 0x40049409
MAX_HANDLE_SZ = 128


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(number, *arguments):
    """Integers, bytes (also None) and ctypes pointers."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return check(LIBC.syscall(ctypes.c_long(number), *words))


def call_by_name(name, *arguments):
    if name not in NUMBERS:
        raise OSError(errno.ENOSYS, f"the number of {name} is not known on {os.uname().machine}")
    return call(NUMBERS[name], *arguments)


# --- names -----------------------------------------------------------------------------------------------------


def exchange(one, other):
    check(LIBC.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE))


def link_descriptor(descriptor, path):
    """Gives a name to an open file that has none."""
    name = b"/proc/self/fd/%d" % descriptor
    check(LIBC.linkat(AT_FDCWD, name, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW))


def open_by_handle(directory, path, flags):
    """Opens a file by its handle; directory is a descriptor on the same mount."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", MAX_HANDLE_SZ, 0), 8 + MAX_HANDLE_SZ)
    mount = ctypes.c_int()
    check(LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount), 0))
    return check(LIBC.open_by_handle_at(directory, handle, flags))


# --- mounts ----------------------------------------------------------------------------------------------------


def unshare_mounts():
    check(LIBC.unshare(CLONE_NEWNS))
    mount("none", "/", None, ["rec", "private"], None)


def mount(source, target, kind, flags, data):
    words = [word and os.fsencode(word) for word in (source, target, kind, data)]
    source, target, kind, data = words
    check(LIBC.mount(source, target, kind, ctypes.c_ulong(sum(MOUNT_FLAGS[flag] for flag in flags)), data))


def mount_fuse(descriptor, path):
    mount("test", path, "fuse", [], f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other")


def detach_mount(path):
    check(LIBC.umount2(os.fsencode(path), MNT_DETACH))


def pivot_root(path):
    """Makes a mount point the root, and lets go of the old one."""
    os.chdir(path)
    call_by_name("pivot_root", b".", b".")
    detach_mount(".")
    os.chdir("/")


# --- content ---------------------------------------------------------------------------------------------------


def fallocate(descriptor, mode, offset, length):
    check(LIBC.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def punch_hole(descriptor, offset, length):
    fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)


def collapse_range(descriptor, offset, length):
    fallocate(descriptor, FALLOC_FL_COLLAPSE_RANGE, offset, length)


def clone(source, descriptor):
    fcntl.ioctl(descriptor, FICLONE, source)


def splice(source, descriptor, size):
    """Through a pipe, as it must be."""
    out, into = os.pipe()
    try:
        size = check(LIBC.splice(source, None, into, None, ctypes.c_size_t(size), 0))
        check(LIBC.splice(out, None, descriptor, None, ctypes.c_size_t(size), 0))
    finally:
        os.close(out)
        os.close(into)


def write_direct(descriptor, content):
    """For O_DIRECT: memory, offset and length are aligned."""
    with mmap.mmap(-1, len(content)) as memory:
        memory[:] = content
        os.pwritev(descriptor, [memory], 0)


def write_by_aio(descriptor, content):
    """io_submit(2), and waits for its end."""
    context = ctypes.c_ulong(0)
    call_by_name("io_setup", 1, ctypes.byref(context))
    memory = ctypes.create_string_buffer(content, len(content))
    # data key rw_flags opcode priority descriptor buffer length offset reserved flags resfd
    block = struct.pack(
        "=QIIHhIQQqQII", 0, 0, 0, 1, 0, descriptor, ctypes.addressof(memory), len(content), 0, 0, 0, 0
    )
    block = ctypes.create_string_buffer(block, len(block))
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    call_by_name("io_submit", context.value, 1, ctypes.byref(pointers))
    done = ctypes.create_string_buffer(32)
    call_by_name("io_getevents", context.value, 1, 1, done, None)
    result = struct.unpack("=QQqq", done.raw)[2]
    if result != len(content):
        raise OSError(max(-result, 0) or errno.EIO, "io_submit")


class Ring:
    """An io_uring for one thing at a time."""

    OPENAT, WRITE = 18, 23

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = call(IO_URING_SETUP, 1, params)
        entries, completions = struct.unpack_from("=II", params.raw, 0)
        self.submission = struct.unpack_from("=7I", params.raw, 40)  # head tail mask entries flags dropped array
        self.completion = struct.unpack_from("=6I", params.raw, 80)  # head tail mask entries overflow cqes
        self.queue = mmap.mmap(self.fd, self.submission[6] + 4 * entries, offset=0)
        self.done = mmap.mmap(self.fd, self.completion[5] + 16 * completions, offset=0x8000000)
        self.entries = mmap.mmap(self.fd, 64 * entries, offset=0x10000000)

    def do(self, opcode, descriptor, address, length, offset=0, flags=0):
        """Returns what the system call of that name would."""
        # opcode flags priority descriptor offset address length flags, and 32 bytes that we need not
        struct.pack_into("=BBHiQQII32x", self.entries, 0, opcode, 0, 0, descriptor, offset, address, length, flags)
        tail = struct.unpack_from("=I", self.queue, self.submission[1])[0]
        struct.pack_into("=I", self.queue, self.submission[6], 0)
        struct.pack_into("=I", self.queue, self.submission[1], (tail + 1) & 0xFFFFFFFF)
        call(IO_URING_ENTER, self.fd, 1, 1, 1, None, 0)
        head = struct.unpack_from("=I", self.done, self.completion[0])[0]
        index = head & struct.unpack_from("=I", self.done, self.completion[2])[0]
        result = struct.unpack_from("=Qi", self.done, self.completion[5] + 16 * index)[1]
        struct.pack_into("=I", self.done, self.completion[0], (head + 1) & 0xFFFFFFFF)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def open(self, path, flags):
        path = ctypes.create_string_buffer(os.fsencode(path))
        return self.do(self.OPENAT, AT_FDCWD, ctypes.addressof(path), 0o644, flags=flags)

    def write(self, descriptor, content):
        memory = ctypes.create_string_buffer(content, len(content))
        if self.do(self.WRITE, descriptor, ctypes.addressof(memory), len(content)) != len(content):
            raise OSError(errno.EIO, "io_uring write")
