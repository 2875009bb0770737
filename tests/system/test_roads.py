# SPDX-License-Identifier: GPL-2.0-only
"""
By whatever road a file comes to an opener below an include path: malware is refused, a clean file is not, and what
is excluded is left alone. Each road runs on each kind of filesystem.
"""
import contextlib
import hashlib
import os
import shutil
from collections import namedtuple

import pytest
from harness import (
    ALL_FILESYSTEMS,
    BY_LAYERS,
    CLEAN,
    EICAR,
    FILESYSTEMS,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    USER,
    WITHOUT,
    Tried,
    create,
    execute_as,
    expect_protection,
    finish_steps,
    mounted,
    need,
    open_as,
    run,
    start_steps,
    take_steps,
    unmount,
    wait_until,
    writing,
)

HARMLESS = b"verified before\n"

# --- roads -----------------------------------------------------------------------------------------------------

NOT_OVERLAY = tuple(kind for kind in ALL_FILESYSTEMS if kind != "overlay")

Road = namedtuple("Road", "travel needs only moves excludable large options")
ROADS = {}


def road(needs=None, only=ALL_FILESYSTEMS, moves=None, excludable=ALL_FILESYSTEMS, large=False, **options):
    """
    A road is a generator: before its yield it makes ready for a trip, while no service runs; after it the file
    arrives, and what became of its open is returned. needs is what there is no road to protect without, only the
    filesystems that have this road, and excludable those where it can also end out of scope; moves is what is
    brought into scope: a "file" or a "directory"; large, that once for each filesystem is enough.
    """

    def add(travel):
        ROADS[travel.__name__.replace("_", " ")] = Road(
            travel, needs, only, moves, excludable, large, options
        )
        return travel

    return add


class Trip:
    """A file on its way along a road."""

    def __init__(self, place, volume, source, target, infected):
        self.place, self.volume, self.infected = place, volume, infected
        self.content = EICAR if infected else CLEAN
        self.expected = self.content  # what is read in the end, unless it is refused
        name = f"{'infected' if infected else 'clean'}-{source.name}-{target.name}"
        self.outside = volume.mkdir(source / name)
        self.inside = volume.mkdir(target / name)
        self.path = self.found = self.inside / "file"  # found: what the log names; None: it has no name
        self.elsewhere = place.base / "-".join(("elsewhere", *self.inside.relative_to(volume.path).parts))

    def is_in_lower_layer(self):
        return self.volume.lower and self.volume / "upper" not in self.path.parents

    def write(self, path=None, content=None, mode=0o644):
        """Before the yield."""
        self.volume.write(path or self.path, self.content if content is None else content, mode)

    def script(self):
        self.expected = b"it ran\n"
        self.write(content=b"#!/bin/sh\necho it ran\n# " + (MARKER if self.infected else b"") + b"\n", mode=0o755)

    def open(self, path=None, user=NOBODY):
        opened = open_as(user, path or self.path)
        return Tried(opened.error, opened.content, opened.sha256)

    def begin(self, travel):
        self.generator = travel(self)
        next(self.generator)

    def arrive(self):
        try:
            next(self.generator)
        except StopIteration as end:
            return end.value
        raise AssertionError("a road has two halves")

    def expect_refused(self, service):
        after = service.position()
        result = self.arrive()
        assert result.error == "EPERM", f"malware came through to {self.path}: {result}"
        if self.found:
            service.expect_found(self.found, after)
        else:
            service.expect(r" FOUND$", after)

    def expect_let_through(self):
        result = self.arrive()
        assert result.error is None, f"{self.path} was refused: {result}"
        assert result.sha256 == hashlib.sha256(self.expected).hexdigest(), f"{self.path} is not what it was"


def try_open(path, flags="O_RDONLY"):
    """As steps, so that nothing comes between the open and what is done before it."""
    return ("try", "open", "opened", path, [flags]), ("read", "opened")


def device_of(volume):
    return run("findmnt", "--noheadings", "--output", "SOURCE", "--target", volume.path).strip()


def executed(done):
    refused = "Operation not permitted" in done.output
    output = done.output.encode()
    return Tried("EPERM" if refused else done.error, output, hashlib.sha256(output).hexdigest())


@road()
def plain(trip):
    trip.write()
    yield
    return trip.open()


@road()
def in_directories_made_a_moment_ago(trip):
    yield
    trip.path = trip.found = trip.inside / "a/b/c/d/e"
    parents = [parent for parent in reversed(trip.path.parents) if trip.inside in parent.parents]
    return take_steps(
        "root",
        *(("mkdir", parent) for parent in parents),
        *writing(trip.path, trip.content, "O_CREAT"),
        *try_open(trip.path),
    )


@road(moves="file")
def moved_in(trip):
    trip.write(trip.outside / "file")
    yield
    return take_steps(
        "root",
        ("open_often", trip.outside / "file", 3),
        ("rename", trip.outside / "file", trip.path),
        *try_open(trip.path),
    )


@road(moves="directory")
def in_a_directory_moved_in(trip):
    trip.write(trip.outside / "moved/deep/er/file")
    yield
    trip.path = trip.found = trip.inside / "moved/deep/er/file"
    return take_steps(
        "root",
        ("open_often", trip.outside / "moved/deep/er/file", 3),
        ("rename", trip.outside / "moved", trip.inside / "moved"),
        *try_open(trip.path),
    )


@road(moves="file", excludable=NOT_OVERLAY)  # a handle, by which files are found there, may lead to any link
def linked_in(trip):
    trip.write(trip.outside / "file")
    yield
    return take_steps(
        "root",
        ("open_often", trip.outside / "file", 3),
        ("link", trip.outside / "file", trip.path),
        *try_open(trip.path),
    )


def over_a_verified_file(trip, how):
    trip.write(trip.outside / "file")
    trip.write(content=HARMLESS)
    yield
    for _ in range(2):
        assert trip.open().content == HARMLESS
    result = take_steps("root", (how, trip.outside / "file", trip.path), *try_open(trip.path))
    if how == "exchange":
        assert trip.open(trip.outside / "file").content == HARMLESS
    return result


@road(moves="file")
def moved_over_a_verified_file(trip):
    return over_a_verified_file(trip, "rename")


@road(moves="file")
def exchanged_for_a_verified_file(trip):
    return over_a_verified_file(trip, "exchange")


@road()
def by_a_path_of_3000_bytes(trip):
    trip.path = trip.found = trip.inside / "/".join(["d" * 49] * 57) / "file"
    trip.write()
    yield
    return trip.open()


@road(excludable=())
def by_a_path_longer_than_paths_can_be(trip):
    """Nobody can tell where it is, and so it is in scope."""
    yield
    trip.found = None
    return take_steps(
        "root",
        ("chdir", trip.inside),
        ("make_directories", "/".join(["d" * 200] * 21)),
        *writing("file", trip.content, "O_CREAT"),
        *try_open("file"),
    )


def padded(trip, size):
    trip.expected = trip.content + b"\n" * size
    trip.write(content=trip.expected)
    yield
    return trip.open()


@road(large=True)
def with_6_MB_behind_it(trip):
    return padded(trip, 6 << 20)


@road(large=True, hold_timeout="60s")
def with_60_MB_behind_it(trip):
    return padded(trip, 60 << 20)


@road()
def by_a_bind_mount(trip):
    trip.write()
    yield
    with mounted(trip.place, trip.elsewhere, "--bind", trip.inside):
        return trip.open(trip.elsewhere / "file")


@road()
def in_a_directory_that_is_bound_into_scope(trip):
    trip.write(trip.outside / "file")
    bound = trip.volume.mkdir(trip.inside / "bound")
    trip.path = trip.found = bound / "file"
    yield
    with mounted(trip.place, bound, "--bind", trip.outside):
        return trip.open()


@road(only=("ext4", "xfs", "btrfs"))
def by_another_mount_of_the_device(trip):
    trip.write()
    yield
    with mounted(trip.place, trip.elsewhere, device_of(trip.volume)):
        return trip.open(trip.elsewhere / trip.path.relative_to(trip.volume.path))


def bound_in_a_namespace(trip, *steps):
    trip.write()
    trip.elsewhere.mkdir()
    yield
    return take_steps(
        "root", ("unshare_mounts",), ("mount", trip.inside, trip.elsewhere, None, ["bind"], None), *steps
    )


@road(needs="other mount namespaces")
def in_another_mount_namespace(trip):
    """By the same path, as it is when a service has a mount namespace of its own."""
    trip.write()
    yield
    return take_steps("root", ("unshare_mounts",), *try_open(trip.path))


@road(needs="other mount namespaces")
def by_a_bind_mount_in_another_mount_namespace(trip):
    return bound_in_a_namespace(trip, *try_open(trip.elsewhere / "file"))


def by_pivot_root(trip, directory):
    return ("optional", ["EINVAL", "ENOSYS"], "pivot_root", directory), *try_open("/file")


@road(needs="other mount namespaces")
def by_pivot_root_into_it(trip):
    """As a container is made."""
    return bound_in_a_namespace(trip, *by_pivot_root(trip, trip.elsewhere))


@road(needs="overlays of protected trees")
def by_pivot_root_into_an_overlay_of_it(trip):
    """As a container is made of an image: the overlay is in nobody's view but its own."""
    trip.write()
    trip.elsewhere.mkdir()
    yield
    layers = {name: trip.elsewhere / name for name in ("upper", "work", "merged")}
    data = f"lowerdir={trip.inside},upperdir={layers['upper']},workdir={layers['work']}"
    return take_steps(
        "root",
        ("unshare_mounts",),
        ("mount", "tmpfs", trip.elsewhere, "tmpfs", [], None),
        *(("mkdir", layer) for layer in layers.values()),
        ("mount", "overlay", layers["merged"], "overlay", [], data),
        *by_pivot_root(trip, layers["merged"]),
    )


@road()
def in_a_chroot(trip):
    trip.write()
    yield
    return take_steps("root", ("chroot", trip.inside), ("chdir", "/"), *try_open("/file"))


@road()
def as_a_script_that_is_executed(trip):
    trip.script()
    yield
    return executed(execute_as(NOBODY, trip.path))


@road()
def as_an_argument_of_its_interpreter(trip):
    trip.script()
    yield
    return executed(execute_as(NOBODY, "/bin/sh", trip.path))


@road(only=NOT_OVERLAY)  # it has no handles to open files by
def by_its_handle(trip):
    trip.write()
    yield
    return take_steps(
        "root",
        ("open", "directory", trip.volume.path, ["O_RDONLY"]),
        ("try", "open_by_handle", "opened", "directory", trip.path),
        ("read", "opened"),
    )


@road()
def by_io_uring(trip):
    trip.write()
    yield
    return take_steps(
        NOBODY,
        ("optional", ["ENOSYS", "EPERM"], "ring"),  # a machine may have it switched off
        ("try", "ring_open", "opened", trip.path),
        ("read", "opened"),
    )


def reopened(trip, *between):
    trip.write()
    yield
    return take_steps(
        "root",
        ("open", "path", trip.path, ["O_PATH"]),
        *between,
        ("try", "reopen", "opened", "path", ["O_RDONLY"]),
        ("read", "opened"),
    )


@road()
def by_its_descriptor_in_proc(trip):
    return reopened(trip)


@road(excludable=NOT_OVERLAY)  # nobody can tell where in an overlay a file was that has gone
def by_its_descriptor_in_proc_when_it_has_no_name_any_more(trip):
    if trip.volume.kind == "overlay":
        trip.found = None
    return reopened(trip, ("unlink", trip.path))


@road()
def as_a_file_without_a_name_that_is_given_one(trip):
    yield
    return take_steps(
        "root",
        ("optional", ["EOPNOTSUPP"], "open", "new", trip.inside, ["O_TMPFILE", "O_RDWR"]),
        ("write", "new", trip.content),
        ("link_descriptor", "new", trip.path),
        ("close", "new"),
        *try_open(trip.path),
    )


@road()
def opened_for_writing(trip):
    trip.write()
    yield
    return take_steps(
        "root",
        ("try", "open", "opened", trip.path, ["O_WRONLY"]),
        ("open", "to read", trip.path, ["O_RDONLY"]),
        ("read", "to read"),
    )


@road()
def opened_for_reading_and_writing(trip):
    trip.write()
    yield
    return take_steps("root", *try_open(trip.path, "O_RDWR"))


@road()
def opened_to_be_truncated(trip):
    """What is refused is not truncated either."""
    trip.write()
    if trip.is_in_lower_layer() and BY_LAYERS:
        trip.infected = False  # it is emptied on its way to the upper layer, before anyone is asked
    yield
    result = take_steps("root", ("try", "open", "opened", trip.path, ["O_WRONLY", "O_TRUNC"]))
    left = open_as(USER, trip.path).content  # as somebody who is never held
    assert left == (trip.content if result.error else b"")
    trip.expected = b""
    return result


@road()
def after_remounting(trip):
    trip.write()
    yield
    for mode in ("ro", "rw"):
        run("mount", "-o", "remount," + mode, trip.volume.path)
        result = trip.open()
        if trip.infected and result.error != "EPERM":
            break
    return result


def on_each_filesystem(kinds_of):
    """The roads, each on the kinds of filesystem that kinds_of() says."""
    return pytest.mark.parametrize(
        "volume, name",
        [
            pytest.param(kind, name, id=f"{kind}-{name}")
            for name, row in ROADS.items()
            for kind in row.only
            if kind in kinds_of(row)
        ],
        indirect=["volume"],
    )


def set_out(place, volume, name, routes, contents):
    """Makes ready for trips along a road, by each of the routes in each tree, and starts the service."""
    way = ROADS[name]
    if way.needs:
        need(way.needs)
    if way.needs == "other mount namespaces" and volume.kind == "overlay":
        need("overlays in other mount namespaces")
    trees = volume.movable_trees if way.moves == "directory" else volume.trees
    if way.large:
        trees = trees[:1]
    trips = []
    for tree in trees:
        for source, target in routes:
            for infected in contents:
                trip = Trip(place, volume, volume / tree / source, volume / tree / target, infected)
                trip.begin(way.travel)
                trips.append(trip)
    service = place.start(
        include=[volume / tree / "in" for tree in trees],
        exclude=[volume / tree / "in/excluded" for tree in trees],
        signatures=MARKER_SIGNATURE,
        **way.options,
    )
    return service, trips


@on_each_filesystem(lambda row: row.only)
def test_malware_is_refused_on_every_road_and_a_clean_file_is_not(place, volume, name):
    routes = [("out", "in"), ("in/excluded", "in")] if ROADS[name].moves else [("out", "in")]
    service, trips = set_out(place, volume, name, routes, (True, False))
    for trip in trips:
        if trip.infected:
            trip.expect_refused(service)
        else:
            trip.expect_let_through()


@on_each_filesystem(lambda row: row.excludable)
def test_what_is_not_in_scope_is_not_scanned_on_any_road(place, volume, name):
    """Neither what is excluded nor what was never included."""
    service, trips = set_out(place, volume, name, [("out", "in/excluded"), ("out", "beside")], (True,))
    for trip in trips:
        trip.expect_let_through()
    counters = service.status()["counters"]
    assert counters["denied"] == 0 and sum(counters["verdicts"].values()) == 0, counters


# --- mounts below an include path ------------------------------------------------------------------------------


def mark_for(kind):
    if kind == "overlay" and BY_LAYERS:
        return "layers"
    return "mount" if "filesystem-marks" in WITHOUT else "filesystem"


def mounts_of(service):
    """The mounts that it protects, by their paths."""
    return {mount["path"]: mount for mount in service.status()["mounts"]}


def wait_for_mount(service, volume):
    path = str(volume.path)
    wait_until(lambda: mounts_of(service).get(path, {}).get("mark"), f"{path} is protected")
    mount = mounts_of(service)[path]
    assert mount["filesystem"] == volume.kind and mount["mark"] == mark_for(volume.kind), mount
    assert not mount["error"], mount


def expect_malware_refused_in(service, directory):
    """Both files are there."""
    after = service.position()
    assert open_as(NOBODY, directory / "eicar").error == "EPERM"
    assert open_as("root", directory / "clean").content == CLEAN
    service.expect_found(directory / "eicar", after)


@pytest.fixture
def home(volume):
    """A directory with a mount point in it."""
    run("mount", "--make-shared", volume.path)  # as systemd does; see the limits in docs/ARCHITECTURE.md
    volume.mkdir("home/mnt")
    return volume / "home"


@pytest.mark.parametrize("kind", ALL_FILESYSTEMS)
def test_a_filesystem_that_is_mounted_below_an_include_path_is_protected(place, home, kind):
    """And it can be unmounted at once, and mounted again."""
    service = place.start(include=home)
    nested = place.volume(kind, home / "mnt")
    for attempt in ("new", "mounted again"):
        wait_for_mount(service, nested)
        if attempt == "new" or kind == "tmpfs":
            create(nested / "eicar", EICAR)
            create(nested / "clean", CLEAN)
        expect_malware_refused_in(service, nested)
        unmount(nested.path)
        wait_until(nested.is_gone, "nothing of the service holds on to the filesystem")
        wait_until(lambda: str(nested.path) not in mounts_of(service), "it is not protected any more")
        nested.mount()
    assert service.status()["restarts"]["guard"] == 0


@pytest.mark.parametrize("kind", ALL_FILESYSTEMS)
def test_filesystems_that_were_mounted_below_an_include_path_before_are_protected(place, home, kind):
    nested = place.volume(kind, home / "mnt")
    inner = place.volume("tmpfs", nested.mkdir("deep/mnt"))
    for volume in (nested, inner):
        (volume / "eicar").write_bytes(EICAR)
        (volume / "clean").write_bytes(CLEAN)
    service = place.start(include=home)
    for volume in (nested, inner):
        wait_for_mount(service, volume)
        expect_malware_refused_in(service, volume.path)


@pytest.mark.parametrize("when", ["before", "while it runs"])
@pytest.mark.parametrize("kind", (*FILESYSTEMS, "overlay"))
def test_a_filesystem_mounted_below_an_excluded_path_is_left_alone(place, home, volume, kind, when):
    point = volume.mkdir("home/excluded/mnt")
    service = place.service(include=home, exclude=home / "excluded")
    if when == "before":
        place.volume(kind, point).write("eicar", EICAR)
        service.start()
    else:
        service.start()
        nested = place.volume(kind, point)
        wait_for_mount(service, place.volume("tmpfs", home / "mnt"))  # so it has seen the other one too
        create(nested / "eicar", EICAR)
    for user in (NOBODY, "root"):
        assert open_as(user, point / "eicar").content == EICAR
    assert sum(service.status()["counters"]["verdicts"].values()) == 0


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_what_is_no_place_for_files_is_left_alone_below_an_include_path(place, home, kind):
    """As in a chroot or a container's root."""
    service = place.service(include=home)
    with mounted(place, home / "mnt", "--types", kind, kind):
        service.start()
        service.stop_workers()
        file = home / "mnt" / {"proc": "self/comm", "sysfs": "kernel/uevent_seqnum"}[kind]
        assert open_as(NOBODY, file).content.strip()
        assert not mounts_of(service).get(str(home / "mnt"), {}).get("mark")
        service.continue_workers()


@contextlib.contextmanager
def mounted_without_answers(place, path):
    """A FUSE filesystem whose server stands still."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no FUSE here")
    steps = ("open", "server", "/dev/fuse", ["O_RDWR"]), ("mount_fuse", "server", path), ("wait",)
    server = place.keep(start_steps("root", *steps)).wait_for_about()
    place.keeper.tell("mount", path)
    try:
        yield
    finally:
        server.kill()
        run("umount", path)
        place.keeper.tell("forget", path)


@pytest.mark.parametrize("when", ["before", "while it runs"])
def test_a_filesystem_that_does_not_answer_holds_up_nobody(place, home, volume, when):
    infected, clean = volume.write("home/eicar", EICAR), volume.write("home/clean", CLEAN)
    other = volume.mkdir("home/other")
    service = place.service(include=home)
    if when == "while it runs":
        service.start()
    with mounted_without_answers(place, home / "mnt"):
        if when == "before":
            service.start()
        expect_protection(infected, clean)
        nested = place.volume("tmpfs", other)
        wait_for_mount(service, nested)
        create(nested / "eicar", EICAR)
        create(nested / "clean", CLEAN)
        expect_malware_refused_in(service, nested.path)
        assert service.status()["restarts"]["guard"] == 0


def write_both(volume, directory):
    volume.write(directory / "eicar", EICAR)
    volume.write(directory / "clean", CLEAN)


def test_a_directory_of_a_lower_layer_that_is_moved_into_scope_is_protected(place):
    """With redirect_dir=on: it stays where it is in its layer, and the overlay knows where it has gone."""
    volume = place.volume("overlay")
    volume.options = "redirect_dir=on"
    write_both(volume, volume / "out/moved/deep")
    volume.mkdir("in")
    service = place.start(include=volume / "in")
    moved = take_steps(
        "root",
        ("open_often", volume / "out/moved/deep/eicar", 3),
        ("rename", volume / "out/moved", volume / "in/moved"),
        *try_open(volume / "in/moved/deep/eicar"),
    )
    assert moved.error == "EPERM"
    assert open_as(NOBODY, volume / "in/moved/deep/clean").content == CLEAN
    service.expect(r" FOUND$")


def test_each_subvolume_of_btrfs_is_protected(place):
    """Whether it is mounted by itself, reached by another's mount or made of another a moment ago."""
    top = place.volume("btrfs")
    run("btrfs", "subvolume", "create", top / "home")
    run("btrfs", "subvolume", "create", top / "source")
    for name in ("home", "subvolume/home", "plain", "source"):
        write_both(top, top / name)
    alone, again = place.base / "alone", place.base / "again"
    with mounted(place, alone, "-o", "subvol=subvolume", device_of(top)), mounted(place, again, device_of(top)):
        service = place.start(include=[top / "home", top / "plain", alone / "home"])
        for directory in (top / "home", top / "plain", alone / "home"):
            expect_malware_refused_in(service, directory)
        for directory in (again / "home", again / "plain", again / "subvolume/home"):
            assert open_as(NOBODY, directory / "eicar").error == "EPERM", directory
            assert open_as(NOBODY, directory / "clean").content == CLEAN
        assert open_as(NOBODY, top / "source/eicar").content == EICAR
        run("btrfs", "subvolume", "snapshot", top / "source", top / "home/snapshot")
        expect_malware_refused_in(service, top / "home/snapshot")
        service.stop()


@pytest.mark.all_filesystems
def test_a_filesystem_that_is_unmounted_lazily_is_protected_for_who_is_in_it(place, volume):
    """No path leads there any more."""
    if volume.kind == "overlay":
        pytest.skip("an overlay is known by its mount: see docs/SECURITY.md")
    directories = [volume / tree / "in" for tree in volume.trees]
    for directory in directories:
        write_both(volume, directory)
    openers = [
        [
            place.keep(start_steps(NOBODY, ("chdir", directory), ("wait",), *try_open(name))).wait_for_about()
            for name in ("eicar", "clean")
        ]
        for directory in directories
    ]
    place.start(include=directories)
    run("umount", "--lazy", volume.path)
    for pair in openers:
        for opener in pair:
            opener.go_on()
        assert [finish_steps(opener).content for opener in pair] == [b"", CLEAN]


@pytest.mark.all_filesystems
def test_a_directory_in_scope_by_its_bind_mount_is_so_by_its_own_path_too(place, volume):
    """Also where its own path is on a mount that another include path is on."""
    write_both(volume, volume / "in")
    write_both(volume, volume / "data")
    bound = place.base / "bound"
    with mounted(place, bound, "--bind", volume / "data"):
        service = place.start(include=[volume / "in", bound])
        for directory in (volume / "in", bound):
            expect_malware_refused_in(service, directory)
        assert open_as(NOBODY, volume / "data/eicar").error == "EPERM"
        assert open_as(NOBODY, volume / "data/clean").content == CLEAN
        service.stop()


# --- include paths that come later -----------------------------------------------------------------------------


def test_an_include_path_that_is_made_later_is_protected_at_once(place, volume):
    later = volume / "deep/er/later"
    service = place.start(include=later)
    made = take_steps(
        "root",
        *(("mkdir", path) for path in (later.parent.parent, later.parent, later)),
        *writing(later / "clean", CLEAN, "O_CREAT"),
        *writing(later / "eicar", EICAR, "O_CREAT"),
        *writing(later.parent / "eicar", EICAR, "O_CREAT"),
        *try_open(later / "eicar"),
    )
    assert made.error == "EPERM"
    expect_malware_refused_in(service, later)
    assert open_as(NOBODY, later.parent / "eicar").content == EICAR


@pytest.mark.parametrize("kind", FILESYSTEMS)
def test_an_include_path_that_is_mounted_later_is_protected(place, home, kind):
    later = home / "mnt/later"
    service = place.start(include=later)
    nested = place.volume(kind, home / "mnt")
    wait_for_mount(service, nested)
    take_steps("root", ("mkdir", later))
    create(later / "clean", CLEAN)
    create(later / "eicar", EICAR)
    create(nested / "eicar", EICAR)
    expect_malware_refused_in(service, later)
    assert open_as(NOBODY, nested / "eicar").content == EICAR


# --- out of scope and into it ----------------------------------------------------------------------------------

# The guard tells the kernel not to ask about a directory out of scope whose files are opened so often and more.
BUSY = 60
FEW = 3

SOURCES = pytest.mark.parametrize("source", ["out", "in/excluded"], ids=["never included", "excluded"])


class Tree:
    """A directory in scope, and one that is not."""

    def __init__(self, place, volume, tree, source="out"):
        self.place, self.volume = place, volume
        self.inside, self.outside = volume.mkdir(volume / tree / "in"), volume.mkdir(volume / tree / source)

    def write(self, name, content):
        return self.volume.write(self.outside / name, content)


def trees_of(place, volume, source="out", trees=None):
    return [Tree(place, volume, tree, source) for tree in trees or volume.trees]


def start_over(place, trees):
    return place.start(
        include=[tree.inside for tree in trees], exclude=[tree.inside / "excluded" for tree in trees]
    )


def out_of_scope(service):
    return service.status()["counters"]["out_of_scope"]


@pytest.mark.parametrize("volume", NOT_OVERLAY, indirect=True)
@SOURCES
def test_nobody_is_asked_about_a_busy_directory_out_of_scope(place, volume, source):
    need("taught directories")
    trees = trees_of(place, volume, source)
    files = [tree.write(f"busy/{name}", EICAR) for tree in trees for name in "abc"]
    service = start_over(place, trees)
    opens = [("open_often", file, BUSY // 3) for file in files]
    take_steps("root", *opens)
    before = out_of_scope(service)
    take_steps("root", *opens)
    assert out_of_scope(service) == before, f"{len(opens) * BUSY // 3} opens were {len(trees) * BUSY} too many"
    for file in files:
        assert open_as(NOBODY, file).content == EICAR


@pytest.mark.parametrize("volume", NOT_OVERLAY, indirect=True)
@SOURCES
def test_malware_in_a_busy_directory_moved_into_scope_is_found_though_nobody_opens_it(place, volume, source):
    """For some milliseconds it can be opened: this is the price of not asking about the directory."""
    need("taught directories")
    trees = trees_of(place, volume, source)
    for tree in trees:
        for name in ("busy", "above/busy"):
            write_both(volume, tree.outside / name)
    service = start_over(place, trees)
    for tree in trees:
        for name in ("busy", "above/busy"):
            take_steps("root", ("open_often", tree.outside / name / "eicar", BUSY))
        take_steps(
            "root",
            ("rename", tree.outside / "busy", tree.inside / "busy"),
            ("rename", tree.outside / "above", tree.inside / "above"),
        )
    for tree in trees:
        for name in ("busy", "above/busy"):
            service.expect_found(tree.inside / name / "eicar")
            assert open_as(NOBODY, tree.inside / name / "eicar").error == "EPERM"
            assert open_as(NOBODY, tree.inside / name / "clean").content == CLEAN


@pytest.mark.all_filesystems
@SOURCES
def test_a_busy_directory_moved_into_scope_is_protected_soon(place, volume, source):
    trees = trees_of(place, volume, source, volume.movable_trees)
    for tree in trees:
        write_both(volume, tree.outside / "busy")
    start_over(place, trees)
    for tree in trees:
        take_steps("root", ("open_often", tree.outside / "busy/eicar", BUSY))
        take_steps("root", ("rename", tree.outside / "busy", tree.inside / "busy"))
        wait_until(lambda: open_as(NOBODY, tree.inside / "busy/eicar").error == "EPERM", "it is refused", 3)
        assert open_as(NOBODY, tree.inside / "busy/clean").content == CLEAN


# How what is in a busy directory may come into scope by a mount: what is mounted where, and the name of the file.
MOUNTED_FROM_A_BUSY_DIRECTORY = {
    "a bind mount": (("--bind", "{outside}/busy"), "point", "point/eicar"),
    "a bind mount of the file": (("--bind", "{outside}/busy/eicar"), "file", "file"),
    "an overlay of it": (
        ("--types", "overlay", "-o", "lowerdir={outside}/busy:{outside}/empty", "none"),
        "point",
        "point/eicar",
    ),
}


@pytest.mark.every_filesystem
@pytest.mark.parametrize("when", ["busy before", "busy after"])
@pytest.mark.parametrize(
    "options, point, name", MOUNTED_FROM_A_BUSY_DIRECTORY.values(), ids=MOUNTED_FROM_A_BUSY_DIRECTORY.keys()
)
def test_a_busy_directory_that_is_mounted_into_scope_is_protected(place, volume, options, point, name, when):
    """Nothing is moved, and what the kernel has been told of the directory holds for all mounts."""
    if "overlay" in options:
        need("overlays on protected filesystems")
    tree = Tree(place, volume, "tree")
    write_both(volume, tree.outside / "busy")
    volume.write(tree.inside / "file", HARMLESS)
    volume.mkdir(tree.inside / "point")
    volume.mkdir(tree.outside / "empty")
    start_over(place, [tree])
    opens = ("open_often", tree.outside / "busy/clean", BUSY)
    if when == "busy before":
        take_steps("root", opens)
    with mounted(place, tree.inside / point, *(option.format(outside=tree.outside) for option in options)):
        wait_until(lambda: open_as(NOBODY, tree.inside / name).error == "EPERM", "it is refused", 3)
        if when == "busy after":
            assert take_steps("root", opens, *try_open(tree.inside / name)).error == "EPERM"
        assert open_as(NOBODY, tree.inside / name).error == "EPERM"


@pytest.mark.all_filesystems
def test_a_scope_that_grows_over_a_busy_directory_is_protected(place, volume):
    """By a reload."""
    trees = trees_of(place, volume)
    for tree in trees:
        write_both(volume, tree.outside / "busy")
    service = start_over(place, trees)
    for tree in trees:
        take_steps("root", ("open_often", tree.outside / "busy/eicar", BUSY))
    service.sections["on-access"]["include"] += [tree.outside for tree in trees]
    service.write_config()
    service.reload()
    for tree in trees:
        expect_malware_refused_in(service, tree.outside / "busy")


# What root may bring into scope from a busy directory without a moment in which it could be opened there.
OUT_OF_A_BUSY_DIRECTORY = {
    "a file": (("rename", "{outside}/busy/eicar", "{inside}/eicar"), "eicar"),
    "a hard link": (("link", "{outside}/busy/eicar", "{inside}/eicar"), "eicar"),
    "a file over another": (("rename", "{outside}/busy/eicar", "{inside}/verified"), "verified"),
    "a file for another": (("exchange", "{outside}/busy/eicar", "{inside}/verified"), "verified"),
    "a directory in it": (("rename", "{outside}/busy/idle", "{inside}/idle"), "idle/eicar"),
}


@pytest.mark.all_filesystems
@SOURCES
@pytest.mark.parametrize("step, name", OUT_OF_A_BUSY_DIRECTORY.values(), ids=OUT_OF_A_BUSY_DIRECTORY.keys())
def test_what_comes_out_of_a_busy_directory_is_protected_at_once(place, volume, source, step, name):
    trees = trees_of(place, volume, source, volume.movable_trees if name == "idle/eicar" else volume.trees)
    for tree in trees:
        tree.write("busy/eicar", EICAR)
        tree.write("busy/idle/eicar", EICAR)
        volume.write(tree.inside / "verified", HARMLESS)
    service = start_over(place, trees)
    for tree in trees:
        assert open_as(NOBODY, tree.inside / "verified").content == HARMLESS
        function, *paths = step
        result = take_steps(
            "root",
            ("open_often", tree.outside / "busy/eicar", BUSY),
            ("open_often", tree.outside / "busy/idle/eicar", FEW),
            (function, *(path.format(outside=tree.outside, inside=tree.inside) for path in paths)),
            *try_open(tree.inside / name),
        )
        assert result.error == "EPERM"
        service.expect_found(tree.inside / name)


# Directories that somebody other than root may move: who owns what, from the one that is moved upwards, and with
# which mode. The file that is opened is in the last one made, "busy".
MOVABLE = {
    "his own": {"his": (NOBODY, 0o755), "his/busy": (NOBODY, 0o755)},
    "in one that all may write to": {"all": ("root", 0o777), "all/busy": (NOBODY, 0o755)},
    "his own where only owners may move": {"tmp": ("root", 0o1777), "tmp/busy": (NOBODY, 0o755)},
    "one of root's in his own": {
        "his": (NOBODY, 0o755),
        "his/above": (NOBODY, 0o755),
        "his/above/busy": ("root", 0o755),
    },
    "far below his own": {
        "his": (NOBODY, 0o755),
        "his/above": (NOBODY, 0o755),
        "his/above/roots": ("root", 0o755),
        "his/above/roots/busy": ("root", 0o755),
    },
    "one that all may write to in one that all may write to": {"all": ("root", 0o777), "all/busy": ("root", 0o777)},
    "one that his group may write to": {"group": ("root", 0o775), "group/busy": ("root", 0o775)},
}


@pytest.mark.all_filesystems
@pytest.mark.parametrize("directories", MOVABLE.values(), ids=MOVABLE.keys())
def test_a_user_cannot_outrun_the_guard_with_a_busy_directory(place, volume, directories):
    """He opens what he will move, moves it into scope and opens it there, as fast as he can."""
    rounds, trees = 4, trees_of(place, volume, trees=volume.movable_trees)
    group = run("id", "--group", "--name", NOBODY).strip()
    names = list(directories)
    moved, busy = names[1], names[-1]
    for tree in trees:
        (tree.inside / "his").mkdir()
        shutil.chown(tree.inside / "his", NOBODY)
        for number in range(rounds):
            tree.write(f"{number}/{busy}/eicar", EICAR)
            for name, (owner, mode) in directories.items():
                path = tree.outside / str(number) / name
                shutil.chown(path, owner, group)
                path.chmod(mode)
    service = start_over(place, trees)
    for tree in trees:
        for number in range(rounds):
            source, target = tree.outside / str(number), tree.inside / "his" / str(number)
            result = take_steps(
                NOBODY,
                ("open_often", source / busy / "eicar", BUSY),
                ("rename", source / moved, target),
                *try_open(target / os.path.relpath(busy, moved) / "eicar"),
            )
            assert result.error == "EPERM", f"round {number}: it was read by who moved it into scope"
    assert service.found()


def test_a_user_cannot_outrun_the_guard_with_a_subvolume(place):
    """The top level of btrfs and a subvolume have the same inode number."""
    volume = place.volume("btrfs")
    volume.path.chmod(0o777)
    volume.mkdir("in/his").chmod(0o777)
    names = [f"his{number}" for number in range(4)]
    for name in names:
        run("btrfs", "subvolume", "create", volume / name)
        volume.write(name + "/roots/busy/eicar", EICAR)
        shutil.chown(volume / name, NOBODY)
    service = place.start(include=volume / "in")
    for name in names:
        result = take_steps(
            NOBODY,
            ("open_often", volume / name / "roots/busy/eicar", BUSY),
            ("rename", volume / name, volume / "in/his" / name),
            *try_open(volume / "in/his" / name / "roots/busy/eicar"),
        )
        assert result.error == "EPERM", "it was read by who moved it into scope"
    assert service.found()


@pytest.mark.all_filesystems
def test_what_is_moved_within_scope_is_still_verified(place, volume):
    """No worker runs, and it can be opened all the same."""
    if volume.kind == "overlay":
        need("memory on overlays")
    trees = trees_of(place, volume, trees=volume.movable_trees)
    for tree in trees:
        for name in ("file", "directory/file"):
            volume.write(tree.inside / "from" / name, CLEAN)
        volume.mkdir(tree.inside / "to")
    service = start_over(place, trees)
    for tree in trees:
        for _ in range(2):
            for name in ("file", "directory/file"):
                assert open_as(NOBODY, tree.inside / "from" / name).content == CLEAN
    service.stop_workers()
    for tree in trees:
        for name in ("file", "directory"):
            take_steps("root", ("rename", tree.inside / "from" / name, tree.inside / "to" / name))
        for name in ("file", "directory/file"):
            assert open_as(NOBODY, tree.inside / "to" / name).content == CLEAN, "it was scanned again"
    service.continue_workers()
