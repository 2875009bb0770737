# SPDX-License-Identifier: GPL-2.0-only
"""
A mirror for the fleet: the directory that holdfast update --mirror-to keeps, a real nginx with the example of
config/ over it, and machines that update from there. Each machine is a network namespace.
"""
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import uuid

import pytest
from harness import HERE, REPOSITORY, USER, holdfast, run, wait_until
from keeper import TOKEN_VARIABLE
from updates import (
    COOL_DOWN,
    DATA,
    FAILED,
    HEAD,
    NEWEST,
    UP_TO_DATE,
    UPDATED,
    WHOLE,
    advertise,
    asked,
    cdiffs,
    expect_in_force,
    in_force,
    make_service,
    needs_data,
    publish,
    size_of,
    tree_of,
    update,
    version_of,
)

pytestmark = needs_data

LOCAL = "Local.One:0:*:686f6c64666173742d637573746f6d2d6f6e65\n"
OTHER = "Local.Two:0:*:686f6c64666173742d637573746f6d2d74776f\n"


@pytest.fixture
def service(place, mirror):
    """Whoever keeps the mirror."""
    return make_service(place, mirror)


@pytest.fixture
def kept(place):
    """The directory of the mirror."""
    return place.base / "kept"


def keep(service, kept, expected, *words, **options):
    return update(service, expected, "--mirror-to", kept, *words, **options)


def names(kept):
    return {path.name for path in kept.iterdir() if not path.name.startswith(".")}


def index(kept):
    return {entry["name"]: entry for entry in json.loads((kept / "index.json").read_text())["files"]}


# --- the directory ---------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_mirrors_have(service, mirror, kept):
    publish(mirror.directory, 5)
    keep(service, kept, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE]
    assert names(kept) == {"test.cvd", "index.json"}
    assert (kept / "test.cvd").read_bytes() == (DATA / "test-5.cvd").read_bytes()
    publish(mirror.directory, 6)
    keep(service, kept, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE, *cdiffs(6, 6)]
    assert names(kept) == {"test.cvd", "test-6.cdiff", "index.json"}
    for name, data in (("test.cvd", "test-6.cvd"), ("test-6.cdiff", "test-6.cdiff")):
        assert (kept / name).read_bytes() == (DATA / data).read_bytes()
    assert index(kept) == {
        "test.cvd": {"name": "test.cvd", "version": 6, "size": size_of("test-6.cvd")},
        "test-6.cdiff": {"name": "test-6.cdiff", "version": 6, "size": size_of("test-6.cdiff")},
    }
    before = tree_of(kept)
    keep(service, kept, UP_TO_DATE)
    assert asked(mirror) == [HEAD]
    assert [line for line in tree_of(kept) if "cvd" in line] == [line for line in before if "cvd" in line]
    assert in_force(service) == {}, "the machine's own signatures are another matter"


def test_who_may_read_and_who_may_write(service, mirror, kept):
    publish(mirror.directory, 6)
    keep(service, kept, UPDATED)
    assert os.stat(kept).st_uid == pwd.getpwnam(USER).pw_uid
    for name in names(kept):
        status = os.stat(kept / name)
        assert status.st_mode & 0o777 == 0o644 and status.st_uid == pwd.getpwnam(USER).pw_uid, name


def test_a_mirror_is_kept_beside_a_service(place, volume, mirror, kept):
    """Which fetches for itself, or not."""
    publish(mirror.directory, 6)
    service = make_service(place, mirror, include=volume.path).start()
    keep(service, kept, UPDATED)
    assert (kept / "test.cvd").exists() and in_force(service) == {}


def test_custom_files_are_kept_too(place, mirror, kept):
    publish(mirror.directory, 6)
    (mirror.directory / "local.ndb").write_text(LOCAL)
    service = make_service(place, mirror, fetch={"custom": f"{mirror.url}/local.ndb"})
    keep(service, kept, UPDATED)
    assert (kept / "local.ndb").read_text() == LOCAL and "local.ndb" in index(kept)
    mirror.forget()
    keep(service, kept, UP_TO_DATE)
    assert mirror.requests("/local.ndb")[0]["status"] == 304
    (mirror.directory / "local.ndb").write_text("nonsense\n")
    keep(service, kept, FAILED)
    assert (kept / "local.ndb").read_text() == LOCAL
    (mirror.directory / "local.ndb").write_text(OTHER)
    keep(service, kept, UPDATED)
    assert (kept / "local.ndb").read_text() == OTHER


@pytest.mark.parametrize("spoil", ["cvd", "cdiff"])
def test_what_does_not_verify_is_not_kept(service, mirror, kept, spoil):
    publish(mirror.directory, 5)
    keep(service, kept, UPDATED)
    publish(mirror.directory, 6)
    path = mirror.directory / {"cvd": "test.cvd", "cdiff": "test-6.cdiff"}[spoil]
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    # Without the cdiff the mirror is still worth something; without the whole file it is what it was.
    keep(service, kept, UPDATED if spoil == "cdiff" else FAILED)
    assert names(kept) == {"test.cvd", "index.json"}
    assert version_of(kept / "test.cvd") == (6 if spoil == "cdiff" else 5)


def test_a_mirror_is_left_alone_as_well(service, mirror, kept):
    publish(mirror.directory, 5)
    keep(service, kept, UPDATED)
    publish(mirror.directory, 6)
    mirror.forget()
    mirror.rules = [{"path": "/test-6.cdiff", "status": 429, "headers": {"Retry-After": "60"}}]
    keep(service, kept, COOL_DOWN)
    assert asked(mirror) == [HEAD, WHOLE, *cdiffs(6, 6)]
    assert version_of(kept / "test.cvd") == 5
    keep(service, kept, COOL_DOWN)
    assert asked(mirror) == []


def test_a_mirror_never_goes_back(service, mirror, kept):
    publish(mirror.directory, 5)
    keep(service, kept, UPDATED)
    publish(mirror.directory, 3)
    keep(service, kept, UP_TO_DATE)
    mirror.rules = [advertise(mirror.directory, 6)]
    holdfast(service, "update", "--mirror-to", kept)
    assert version_of(kept / "test.cvd") == 5


def test_what_others_have_put_beside_stays(service, mirror, kept):
    publish(mirror.directory, 6)
    keep(service, kept, UPDATED)
    (kept / "robots.txt").write_text("User-agent: *\n")
    publish(mirror.directory, 6)
    keep(service, kept, UP_TO_DATE)
    assert (kept / "robots.txt").exists() and "robots.txt" not in index(kept)


@pytest.mark.parametrize("where", ["relative", "through a link"])
def test_where_the_mirror_is(place, service, mirror, kept, where):
    publish(mirror.directory, 6)
    kept.mkdir()
    shutil.chown(kept, USER)
    (place.base / "link").symlink_to(kept)
    words = {"relative": "kept", "through a link": place.base / "link"}
    update(service, UPDATED, "--mirror-to", words[where], cwd=place.base)
    assert version_of(kept / "test.cvd") == 6


def test_where_no_mirror_can_be(place, service, mirror, kept):
    publish(mirror.directory, 6)
    kept.write_text("a file\n")
    assert str(kept) in keep(service, kept, FAILED)
    kept.unlink()
    kept.mkdir()
    said = keep(service, kept, FAILED)
    assert str(kept) in said and USER in said
    assert str(kept / "no" / "such") in update(service, FAILED, "--mirror-to", kept / "no" / "such")
    assert asked(mirror) == []


# --- two machines ----------------------------------------------------------------------------------------------


class Machine:
    """A network namespace with one address, and what runs there. It goes with its last process."""

    def __init__(self, place, address):
        self.address, self.processes = address, []
        token = uuid.uuid4().hex
        place.keeper.tell("token", token)
        self.environment = {**os.environ, TOKEN_VARIABLE: token}
        self.holder = self.launch("unshare", "--net", "--", "sleep", "infinity")
        wait_until(lambda: self.namespace() != os.readlink("/proc/self/ns/net"), "there is another network")
        self.run("ip", "link", "set", "lo", "up")

    def namespace(self):
        return os.readlink(f"/proc/{self.holder.pid}/ns/net")

    @property
    def inside(self):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def run(self, *argv):
        return run(*self.inside, *argv)

    def launch(self, *argv, **options):
        process = subprocess.Popen(list(map(str, argv)), env=self.environment, **options)
        self.processes.append(process)
        return process

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()


@pytest.fixture
def machines(place):
    """One that keeps the mirror and one that updates from it, with a cable between, and no other network."""
    if not shutil.which("nginx"):
        pytest.skip("no nginx")
    machines = []
    try:
        for address in ("192.0.2.1", "192.0.2.2"):
            machines.append(Machine(place, address))
        first, second = machines
        ours = "ip", "link", "add", "cable", "type", "veth"
        first.run(*ours, "peer", "name", "cable", "netns", second.holder.pid)
        for machine in machines:
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "cable")
            machine.run("ip", "link", "set", "cable", "up")
        yield machines
    finally:
        for machine in reversed(machines):
            machine.close()


class Nginx:
    """nginx with the example of config/, over a directory; its log says what was asked for."""

    def __init__(self, place, machine, root):
        self.directory = place.base / "nginx"
        self.directory.mkdir()
        self.log = self.directory / "access"
        example = (REPOSITORY / "config" / "nginx-mirror.conf").read_text()
        server, n = re.subn(r"root .*;", f"root {root};", example)
        assert n == 1, "the example names no root"
        (self.directory / "server.conf").write_text(server)
        config = self.directory / "nginx.conf"
        config.write_text(
            f"""\
daemon off;
master_process off;
pid {self.directory}/pid;
error_log {self.directory}/error;
events {{}}
http {{
    log_format asked '$request_method $uri|$http_range|$status|$body_bytes_sent';
    access_log {self.log} asked;
    client_body_temp_path {self.directory}/a; proxy_temp_path {self.directory}/b; fastcgi_temp_path {self.directory}/c;
    uwsgi_temp_path {self.directory}/d; scgi_temp_path {self.directory}/e;
    include {self.directory}/server.conf;
}}
"""
        )
        with open(self.directory / "output", "wb") as output:
            self.process = machine.launch(*machine.inside, "nginx", "-c", config, stdout=output, stderr=output)
        wait_until(lambda: self.is_up(machine) or self.process.poll() is not None, "nginx listens")
        assert self.process.poll() is None, self.says()

    def is_up(self, machine):
        return ":80 " in machine.run("ss", "-Hltn")

    def says(self):
        logs = self.directory / "output", self.directory / "error"
        return "".join(path.read_text() for path in logs if path.exists())

    def asked(self, n):
        """What was asked for since this was asked, once there are n of it: (request, range, status, bytes)."""
        wait_until(lambda: self.log.exists() and self.log.read_text().count("\n") >= n, f"nginx has answered {n}")
        lines = [line.split("|") for line in self.log.read_text().splitlines()]
        with open(self.log, "wb"):
            pass
        return [(what, wanted.removeprefix("bytes="), int(status), int(sent)) for what, wanted, status, sent in lines]


class Elsewhere:
    """A mock mirror in another network namespace, told what to do over its standard input."""

    def __init__(self, place, machine):
        self.directory = place.base / "origin"
        self.directory.mkdir()
        script = place.base / "origin.json"
        script.write_text(json.dumps({"directory": str(self.directory)}))
        argv = [*machine.inside, sys.executable, "-B", HERE / "mirror.py", script]
        self.process = machine.launch(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"


@pytest.fixture
def fleet(place, machines, kept):
    """The first keeps a mirror of the mock, the second has that as its mirror."""
    first, second = machines
    origin = Elsewhere(place, first)
    keeper = make_service(place, origin.url)
    publish(origin.directory, 3)
    keep(keeper, kept, UPDATED, before=first.inside)
    nginx = Nginx(place, first, kept)
    other = make_service(place, f"http://{first.address}")
    return origin, keeper, nginx, other


def test_the_second_machine_updates_from_the_first(machines, fleet, kept):
    origin, keeper, nginx, other = fleet
    first, second = machines
    update(other, UPDATED, before=second.inside)
    assert nginx.asked(2) == [
        ("GET /test.cvd", "0-511", 206, 512),
        ("GET /test.cvd", "-", 200, size_of("test-3.cvd")),
    ]
    expect_in_force(other, "test.cvd", 3)
    update(other, UP_TO_DATE, before=second.inside)
    assert nginx.asked(1) == [("GET /test.cvd", "0-511", 206, 512)]
    for version in range(4, NEWEST + 1):
        publish(origin.directory, version)
        keep(keeper, kept, UPDATED, before=first.inside)
        update(other, UPDATED, before=second.inside)
        assert nginx.asked(2) == [
            ("GET /test.cvd", "0-511", 206, 512),
            (f"GET /test-{version}.cdiff", "-", 200, size_of(f"test-{version}.cdiff")),
        ]
        expect_in_force(other, "test.cld", version)


def test_a_machine_that_was_away_for_long_updates_by_all_cdiffs_that_there_are(machines, fleet, kept):
    origin, keeper, nginx, other = fleet
    first, second = machines
    update(other, UPDATED, before=second.inside)
    nginx.asked(2)
    for version in range(4, NEWEST + 1):
        publish(origin.directory, version)
        keep(keeper, kept, UPDATED, before=first.inside)
    update(other, UPDATED, before=second.inside)
    assert [request for request, *_ in nginx.asked(4)] == ["GET /test.cvd", *(f"GET /{name}" for name in cdiffs(4, 6))]
    expect_in_force(other, "test.cld", 6)


def test_custom_files_of_a_mirror(place, machines, fleet, kept):
    origin, keeper, nginx, other = fleet
    first, second = machines
    (origin.directory / "local.ndb").write_text(LOCAL)
    keeper.sections["signatures"]["custom"] = f"{origin.url}/local.ndb"
    keeper.write_config()
    keep(keeper, kept, UPDATED, before=first.inside)
    other.sections["signatures"]["custom"] = f"http://{first.address}/local.ndb"
    other.write_config()
    update(other, UPDATED, before=second.inside)
    assert in_force(other) == {"test.cvd": 3, "local.ndb": LOCAL}
    nginx.asked(3)
    update(other, UP_TO_DATE, before=second.inside)
    assert nginx.asked(2)[1] == ("GET /local.ndb", "-", 304, 0)


def test_a_download_from_nginx_is_taken_up_where_it_broke(machines, fleet):
    """Its ETag and its ranges are what the fetcher takes them for."""
    _, _, nginx, other = fleet
    _, second = machines
    partial = other.signatures / "fetch" / "partial"
    partial.mkdir(parents=True)
    (partial / "test.cvd").write_bytes((DATA / "test-3.cvd").read_bytes()[:5000])
    for path in (partial.parent, partial, partial / "test.cvd"):
        shutil.chown(path, USER, USER)
    update(other, UPDATED, before=second.inside)
    assert nginx.asked(2)[1] == ("GET /test.cvd", "5000-", 206, size_of("test-3.cvd") - 5000)
    expect_in_force(other, "test.cvd", 3)


def test_the_example_for_nginx_gives_what_it_should_and_nothing_else(machines, fleet, kept):
    first, second = machines
    _, keeper, _, _ = fleet

    def ask(path, *options):
        """Status and headers."""
        text = second.run("curl", "-s", "-o", "/dev/null", "-D", "-", *options, f"http://{first.address}{path}")
        status, *headers = text.lower().splitlines()
        return int(status.split()[1]), dict(line.split(": ", 1) for line in headers if ": " in line)

    (kept / "test-4.cdiff").write_bytes(b"x")
    status, headers = ask("/test.cvd")
    assert status == 200 and headers["content-type"] == "application/octet-stream"
    assert headers["cache-control"] == "no-cache" and headers["etag"] and headers["accept-ranges"] == "bytes"
    assert "immutable" in ask("/test-4.cdiff")[1]["cache-control"]
    assert ask("/index.json")[1]["content-type"] == "application/json"
    hidden = next(path for path in kept.iterdir() if path.name.startswith("."))
    inside = next(path for path in hidden.rglob("*") if path.is_file())
    for path in ("/", f"/{hidden.name}/", f"/{inside.relative_to(kept)}", "/missing.cvd", "/../nginx.conf"):
        assert ask(path, "--path-as-is")[0] in (400, 404), path
    for method in ("POST", "PUT", "DELETE"):
        assert ask("/test.cvd", "-X", method)[0] == 405, method
    assert ask("/test.cvd", "-I")[0] == 200
