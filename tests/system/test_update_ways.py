# SPDX-License-Identifier: GPL-2.0-only
"""Ways to a mirror: who one is, whom one trusts, proxies, IPv6."""
import contextlib
import os
import select
import shutil
import socket
import threading

import pytest
from harness import USER, holdfast
from mirror import make_certificates
from updates import (
    FAILED,
    HEAD,
    UP_TO_DATE,
    UPDATED,
    WHOLE,
    asked,
    expect_in_force,
    in_force,
    make_service,
    needs_data,
    publish,
    update,
)

pytestmark = needs_data


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def pem(place, certificates):
    """Where the service's user can read them."""
    directory = place.base / "pem"
    shutil.copytree(certificates, directory)
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)
    return directory


@pytest.fixture
def make_tls(mirrors, pem):
    def make(**options):
        tls = {"certificate": pem / "server.pem", "key": pem / "server.key", **options.pop("tls", {})}
        mirror = mirrors(tls=tls, **options)
        publish(mirror.directory, 6)
        return mirror

    return make


# --- a user and a password -------------------------------------------------------------------------------------


def write_netrc(place, text, mode=0o600):
    path = place.base / "netrc"
    path.write_text(text)
    path.chmod(mode)
    shutil.chown(path, USER)
    return path


def test_a_user_and_a_password_of_the_netrc_file(place, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [{"auth": "fleet:secret word"}]
    netrc = write_netrc(place, 'machine 127.0.0.1 login fleet password "secret word"\n')
    service = make_service(place, mirror, fetch={"netrc-file": netrc})
    said = update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    assert "secret" not in said + (service.signatures / "fetch" / "state.json").read_text()


def test_a_user_and_a_password_in_the_url(place, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [{"auth": "fleet:secret"}]
    service = make_service(place, mirror.url.replace("//", "//fleet:secret@"))
    said = update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    mirror.rules = [{"status": 403}]
    said += update(service, 3)
    assert "secret" not in said + (service.signatures / "fetch" / "state.json").read_text()


@pytest.mark.parametrize("host, password", [("127.0.0.1", "wrong"), ("other", "secret")])
def test_a_wrong_password_is_said(place, mirror, host, password):
    text = f"machine {host} login fleet password {password}\n"
    publish(mirror.directory, 6)
    mirror.rules = [{"auth": "fleet:secret"}]
    service = make_service(place, mirror, fetch={"netrc-file": write_netrc(place, text)})
    said = update(service, FAILED)
    assert mirror.url in said and "401" in said
    assert mirror.count() == 1 and in_force(service) == {}


def test_a_netrc_file_that_cannot_be_read(place, mirror):
    netrc = write_netrc(place, "machine 127.0.0.1 login fleet password secret\n")
    publish(mirror.directory, 6)
    service = make_service(place, mirror, fetch={"netrc-file": netrc})
    os.chown(netrc, 0, 0)
    assert str(netrc) in update(service, FAILED), "it goes on without what it was to introduce itself with"
    assert mirror.count() == 0


def test_a_password_goes_to_its_host_only(place, mirrors):
    """Not to where that one redirects to."""
    mirror, other = mirrors(), mirrors(name="localhost")
    publish(other.directory, 6)
    mirror.rules = [{"redirect": f"{other.url}/test.cvd"}]
    netrc = write_netrc(place, "machine 127.0.0.1 login fleet password secret\n")
    service = make_service(place, mirror, fetch={"netrc-file": netrc})
    update(service, UPDATED)
    assert all(request["authorization"] for request in mirror.requests())
    assert not any(request["authorization"] for request in other.requests())


# --- certificates ----------------------------------------------------------------------------------------------


def test_a_server_is_trusted_by_the_authority_that_is_configured(place, make_tls, pem):
    mirror = make_tls()
    service = make_service(place, mirror, fetch={"ca-file": pem / "ca.pem"})
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE]
    expect_in_force(service, "test.cvd", 6)


def test_a_server_of_another_authority_is_not(place, make_tls):
    mirror = make_tls()
    service = make_service(place, mirror)
    said = update(service, FAILED)
    assert mirror.url in said and "certificate" in said
    assert mirror.count() == 0 and in_force(service) == {}


def test_a_certificate_of_another_host_is_not(place, mirrors, make_tls, pem):
    mirror = make_tls(host="127.0.0.2")
    service = make_service(place, mirror, fetch={"ca-file": pem / "ca.pem"})
    assert "127.0.0.2" in update(service, FAILED)
    assert mirror.count() == 0


def test_a_client_shows_its_certificate(place, make_tls, pem):
    mirror = make_tls(tls={"client_ca": pem / "ca.pem"})
    keys = {"ca-file": pem / "ca.pem", "client-certificate": pem / "client.pem", "client-key": pem / "client.key"}
    service = make_service(place, mirror, fetch=keys)
    update(service, UPDATED)
    assert {request["certificate"] for request in mirror.requests()} == {"test client"}
    expect_in_force(service, "test.cvd", 6)


def test_a_certificate_and_its_key_in_one_file(place, make_tls, pem):
    mirror = make_tls(tls={"client_ca": pem / "ca.pem"})
    both = pem / "both.pem"
    both.write_text((pem / "client.pem").read_text() + (pem / "client.key").read_text())
    both.chmod(0o644)
    service = make_service(place, mirror, fetch={"ca-file": pem / "ca.pem", "client-certificate": both})
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


def test_a_client_without_a_certificate_is_turned_away(place, make_tls, pem):
    mirror = make_tls(tls={"client_ca": pem / "ca.pem"})
    service = make_service(place, mirror, fetch={"ca-file": pem / "ca.pem"})
    assert mirror.url in update(service, FAILED)
    assert mirror.count() == 0


@pytest.mark.parametrize("key, name", [("ca-file", "ca.pem"), ("client-certificate", "client.pem")])
def test_a_file_that_cannot_be_read_is_said(place, make_tls, pem, key, name):
    keys = {"ca-file": pem / "ca.pem", "client-certificate": pem / "client.pem", "client-key": pem / "client.key"}
    service = make_service(place, make_tls(), fetch=keys)
    (pem / name).chmod(0)
    os.chown(pem / name, 0, 0)
    assert str(pem / name) in update(service, FAILED)


def test_from_https_to_http_nobody_is_led(place, mirrors, make_tls, pem):
    plain, mirror = mirrors(), make_tls()
    publish(plain.directory, 6)
    mirror.rules = [{"redirect": f"{plain.url}/test.cvd"}]
    service = make_service(place, mirror, fetch={"ca-file": pem / "ca.pem"})
    update(service, FAILED)
    assert plain.count() == 0


# --- proxies ---------------------------------------------------------------------------------------------------


class Tunnel:
    """A proxy that does nothing but CONNECT, and keeps account of where to."""

    def __init__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError, ValueError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            method, target, _ = request.split(b"\r\n")[0].decode().split()
            self.asked.append((method, target, b"proxy-authorization: " in request.lower()))
            if method != "CONNECT":
                client.sendall(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
                return
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
                self.pass_on({client: server, server: client})

    def pass_on(self, ends):
        while True:
            for ready in select.select(list(ends), [], [])[0]:
                if not (data := ready.recv(65536)):
                    return
                ends[ready].sendall(data)

    def close(self):
        # Closing alone would leave accept() waiting.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def tunnel():
    tunnel = Tunnel()
    yield tunnel
    tunnel.close()


def test_a_proxy_is_asked_for_http(place, mirror):
    """The mock knows how to be one."""
    publish(mirror.directory, 6)
    service = make_service(place, "http://signatures.example", fetch={"proxy": mirror.url})
    update(service, UPDATED)
    assert {request["proxied"] for request in mirror.requests()} == {"signatures.example"}
    expect_in_force(service, "test.cvd", 6)


def test_a_proxy_is_a_tunnel_for_https(place, make_tls, pem, tunnel):
    mirror = make_tls()
    service = make_service(place, mirror, fetch={"proxy": tunnel.url, "ca-file": pem / "ca.pem"})
    update(service, UPDATED)
    assert {(method, target) for method, target, _ in tunnel.asked} == {("CONNECT", f"127.0.0.1:{mirror.port}")}
    assert asked(mirror) == [HEAD, WHOLE]
    expect_in_force(service, "test.cvd", 6)


def test_a_proxy_may_want_a_password_too(place, make_tls, pem, tunnel):
    mirror = make_tls()
    proxy = tunnel.url.replace("//", "//fleet:secret@")
    service = make_service(place, mirror, fetch={"proxy": proxy, "ca-file": pem / "ca.pem"})
    said = update(service, UPDATED)
    assert all(authorized for _, _, authorized in tunnel.asked)
    assert "secret" not in said


def test_a_proxy_that_is_not_there_is_said(place, mirror):
    publish(mirror.directory, 6)
    service = make_service(place, mirror, fetch={"proxy": "http://127.0.0.1:1"})
    assert "127.0.0.1 port 1 " in update(service, FAILED)
    assert mirror.count() == 0


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
def test_the_environment_decides_over_no_proxy(place, mirror, name):
    publish(mirror.directory, 6)
    service = make_service(place, mirror)
    service.environment[name] = "http://127.0.0.1:1"
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


# --- the rest --------------------------------------------------------------------------------------------------


def test_ipv6(place, mirrors):
    try:
        mirror = mirrors(host="::1")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    publish(mirror.directory, 6)
    service = make_service(place, mirror)
    update(service, UPDATED)
    assert "[::1]" in mirror.url and asked(mirror) == [HEAD, WHOLE]
    expect_in_force(service, "test.cvd", 6)


def test_a_host_by_its_name(place, mirrors):
    mirror = mirrors(name="localhost")
    publish(mirror.directory, 6)
    service = make_service(place, mirror)
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


def test_a_mirror_in_a_directory(place, mirror):
    """With a slash at its end or without."""
    (mirror.directory / "a" / "b").mkdir(parents=True)
    publish(mirror.directory / "a" / "b", 6)
    service = make_service(place, f"{mirror.url}/a/b/")
    update(service, UPDATED)
    assert asked(mirror) == ["a/b/" + HEAD, "a/b/" + WHOLE]


@pytest.mark.parametrize("limit", ["1K", "1M"])
def test_a_rate_limit(place, mirror, limit):
    """That it is kept is a matter of time, which no test measures; that everything comes is not."""
    publish(mirror.directory, 6)
    service = make_service(place, mirror, fetch={"rate-limit": limit})
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    update(service, UP_TO_DATE)


def test_a_pipe_gets_plain_lines(place, mirror):
    publish(mirror.directory, 5)
    service = make_service(place, mirror)
    done = holdfast(service, "update")
    assert done.returncode == UPDATED and done.stderr == ""
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    publish(mirror.directory, 6)
    (line, *_) = (line for line in update(service, UPDATED).splitlines() if line.startswith("test"))
    for part in ("5 -> 6", "14 signatures (+1)", "1 cdiff", mirror.url):
        assert part in line, line
    assert holdfast(service, "update", "--quiet").stdout == ""
