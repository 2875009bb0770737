# SPDX-License-Identifier: GPL-2.0-only
"""
A mirror that does as a test says: an HTTP server on loopback that serves a directory, misbehaves by rules, and
keeps account of each request.

    with Mirror(directory, [{"path": "/daily.cvd", "truncate": 100}]) as mirror:
        ... mirror.url ...                  # "http://127.0.0.1:PORT", without a slash at the end
        mirror.rules = [...]                # other rules from now on; what they have counted begins again
        mirror.requests()                   # one dict for each request, see below; waits until none is under way
        mirror.count("/daily.cvd")          # requests; of all paths without an argument
        mirror.bytes("/daily.cvd")          # bytes of bodies sent
        mirror.forget()                     # the account begins again
        mirror.break_off()                  # ends the requests that stall

Without rules it is a proper server: Last-Modified, strong ETag, Range with If-Range, If-None-Match,
If-Modified-Since, 404, 416, connections kept alive. A request for http://host/path is answered as a proxy would:
with its own file of that path.

The first rule that applies decides:

    When it applies
        path            a pattern as of fnmatch, "/daily*.cdiff"; none: every path
        range           true, false: only requests with, or without, Range
        nth             n or [first, last]: only those of the requests that the rest of the rule applies to, from 1
    What is sent
        file            this file of the directory instead
        body            this text instead, or {"size": n}: so many bytes
        advertise       this file instead, to requests with Range only: the head of a newer file
        status          this status with a short body, or with body
        headers         {"Retry-After": "60", "ETag": null, ...}: added, replaced or, with null, left out
        redirect        302 (or status) to this URL; {n} in it is the number of the request
        ignore_range    all of it, whatever is asked for
        auth            "user:password", or 401
    How it is sent
        truncate        only so many bytes of the body, then the connection is closed
        slow            [bytes, seconds]: so many bytes, a pause, and so on
        stall           so many bytes of the body (0: not even headers), then nothing until the client goes
        endless         the body, or the headers ("headers"), have no end and no announced size
        close           no answer at all

A request in the account: method, path, query, range, if_range, if_none_match, if_modified_since, user_agent,
authorization, proxied (the host a proxy was asked for, or null), status (0: none sent), sent (bytes of the body),
certificate (the client's common name, or null).

TLS: tls={"certificate": PEM, "key": PEM, "client_ca": PEM or None}; with client_ca, clients must have a certificate.
make_certificates(directory) makes ca.pem, server.pem, server.key, client.pem, client.key with openssl.
IPv6: host="::1". A host name for the URL: name="localhost".

For tests in C: "mirror.py SCRIPT.json" takes the arguments of Mirror as a JSON object, prints its port, and then
reads commands, one JSON object a line: {"rules": [...]} (answer: []; the account begins again too) and
{"requests": true} (answer: the requests). It ends with its standard input. "mirror.py --certificates DIR" makes
certificates.
"""
import base64
import contextlib
import email.utils
import fnmatch
import hashlib
import http.server
import json
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

# How long anything here waits for a client.
PATIENCE = 60


class Answer:
    """What a rule and a request come to."""

    def __init__(self, status, headers, body=b""):
        self.status, self.headers, self.body = status, headers, body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        mirror, url = self.server.mirror, urlsplit(self.path)
        headers = self.headers
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.record = {
            "method": self.command,
            "path": unquote(url.path),
            "query": url.query,
            "range": headers["Range"],
            "if_range": headers["If-Range"],
            "if_none_match": headers["If-None-Match"],
            "if_modified_since": headers["If-Modified-Since"],
            "user_agent": headers["User-Agent"],
            "authorization": headers["Authorization"],
            "proxied": url.netloc or None,
            "status": 0,
            "sent": 0,
            "certificate": dict(pair for names in peer["subject"] for pair in names)["commonName"] if peer else None,
        }
        with mirror.under_way(self.record) as rule:
            try:
                self.answer(rule)
            except (OSError, ValueError):
                self.close_connection = True  # the client has gone

    do_HEAD = do_GET

    def answer(self, rule):
        if rule.get("close") or rule.get("stall") == 0:
            self.close_connection = True
            if not rule.get("close"):
                self.wait_until_gone()
            return
        answer, endless = self.compose(rule), rule.get("endless")
        if endless:
            answer.headers.pop("Content-Length", None)
        answer.headers.update(rule.get("headers", {}))
        self.record["status"] = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if value is not None:
                self.send_header(name, str(value))
        if endless == "headers":
            self.close_connection = True
            while True:
                self.send_header("X-More", "x" * 1000)
                self.flush_headers()
        if endless:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD" or answer.status == 304:
            return
        self.send_body(answer.body, rule)

    def send_body(self, body, rule):
        cut = rule.get("truncate", rule.get("stall"))
        step, pause = rule.get("slow", (65536, 0))
        if rule.get("endless"):
            self.close_connection = True
            while True:
                self.send_piece(body[:step] or b"x" * step, pause)
        for start in range(0, len(body[:cut]), step):
            self.send_piece(body[:cut][start : start + step], pause)
        if cut is not None:
            self.close_connection = True
            if "stall" in rule:
                self.wait_until_gone()

    def send_piece(self, piece, pause):
        self.wfile.write(piece)
        self.record["sent"] += len(piece)
        # Not a plain sleep: a client that has gone ends it.
        if pause and select.select([self.connection], [], [], pause)[0]:
            raise OSError

    def wait_until_gone(self):
        select.select([self.connection, self.server.mirror.breaking], [], [], PATIENCE)

    def compose(self, rule):
        """The answer of a proper server, to what the rule makes of the request."""
        mirror, asked = self.server.mirror, self.record["range"]
        if "auth" in rule:
            expected = "Basic " + base64.b64encode(rule["auth"].encode()).decode()
            if self.record["authorization"] != expected:
                return self.short(401, {"WWW-Authenticate": 'Basic realm="mirror"'})
        if "redirect" in rule:
            number = str(len(mirror.account))
            return self.short(rule.get("status", 302), {"Location": rule["redirect"].replace("{n}", number)})
        if "body" in rule:
            body = rule["body"]
            body = bytes(body["size"]) if isinstance(body, dict) else body.encode()
            modified = 1700000000.0
        elif "status" in rule:
            return self.short(rule["status"], {})
        else:
            name = rule.get("file") or (asked and rule.get("advertise")) or self.record["path"].lstrip("/")
            path = mirror.directory / name
            if not path.resolve().is_relative_to(mirror.directory) or not path.is_file():
                return self.short(404, {})
            body, modified = path.read_bytes(), path.stat().st_mtime
        if "status" in rule:
            return Answer(rule["status"], {"Content-Length": len(body)}, body)
        headers = {
            "ETag": '"' + hashlib.sha256(body).hexdigest()[:16] + '"',
            "Last-Modified": email.utils.formatdate(int(modified), usegmt=True),
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        headers.update((k, v) for k, v in rule.get("headers", {}).items() if k in ("ETag", "Last-Modified"))
        if self.not_modified(headers):
            return Answer(304, headers)
        return self.ranged(body, headers, None if rule.get("ignore_range") else asked)

    def not_modified(self, headers):
        if self.record["if_none_match"]:
            return headers["ETag"] in self.record["if_none_match"]
        since = self.record["if_modified_since"]
        dates = since and [email.utils.parsedate_to_datetime(d) for d in (headers["Last-Modified"], since)]
        return dates and dates[0] <= dates[1]

    def ranged(self, body, headers, asked):
        validators = headers["ETag"], headers["Last-Modified"]
        if self.record["if_range"] and self.record["if_range"] not in validators:
            asked = None
        first, _, last = (asked or "").removeprefix("bytes=").partition("-")
        if not first.isdigit():
            return Answer(200, headers | {"Content-Length": len(body)}, body)
        first, last = int(first), min(int(last or len(body)), len(body) - 1)
        if first > last:
            return self.short(416, {"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return Answer(206, headers | {"Content-Length": last + 1 - first}, body[first : last + 1])

    def short(self, status, headers):
        body = f"<html>{status}</html>\n".encode()
        return Answer(status, headers | {"Content-Type": "text/html", "Content-Length": len(body)}, body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def finish_request(self, request, client_address):
        if self.mirror.tls:
            request.settimeout(PATIENCE)
            request = self.mirror.tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.mirror.tls:
                with contextlib.suppress(OSError):
                    request.close()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a client that does not trust us, ...
            super().handle_error(request, client_address)


class Server6(Server):
    address_family = socket.AF_INET6


class Mirror:
    def __init__(self, directory, rules=(), host="127.0.0.1", port=0, tls=None, name=None):
        self.directory = Path(directory).resolve()
        self.account, self.lock = [], threading.Condition()
        self.busy = 0
        self.breaking, self.breaker = socket.socketpair()
        self.rules = rules
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls["certificate"], tls["key"])
            if tls.get("client_ca"):
                self.tls.verify_mode = ssl.CERT_REQUIRED
                self.tls.load_verify_locations(tls["client_ca"])
        self.server = (Server6 if ":" in host else Server)((host, port), Handler)
        self.server.mirror = self
        self.port = self.server.server_address[1]
        host = name or (f"[{host}]" if ":" in host else host)
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.breaker.send(b"!")

    @property
    def rules(self):
        return self._rules

    @rules.setter
    def rules(self, rules):
        with self.lock:
            self._rules = [dict(rule) for rule in rules]
            self.seen = [0] * len(self._rules)

    @contextlib.contextmanager
    def under_way(self, record):
        """Enters a request into the account and gives the rule for it."""
        with self.lock:
            self.account.append(record)
            self.busy += 1
            rule = self.find_rule(record)
        try:
            yield rule
        finally:
            with self.lock:
                self.busy -= 1
                self.lock.notify_all()

    def find_rule(self, record):
        for i, rule in enumerate(self._rules):
            if not fnmatch.fnmatchcase(record["path"], rule.get("path", "*")):
                continue
            if rule.get("range", bool(record["range"])) != bool(record["range"]):
                continue
            self.seen[i] += 1
            nth = rule.get("nth", [1, sys.maxsize])
            first, last = nth if isinstance(nth, (list, tuple)) else (nth, nth)
            if first <= self.seen[i] <= last:
                return rule
        return {}

    def requests(self, path=None):
        """The account, of one path or pattern or of all, once no request is under way."""
        deadline = time.monotonic() + PATIENCE
        with self.lock:
            while self.busy:
                if not self.lock.wait(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"a request is still under way: {self.account[-1]}")
            return [dict(r) for r in self.account if path is None or fnmatch.fnmatchcase(r["path"], path)]

    def count(self, path=None):
        return len(self.requests(path))

    def bytes(self, path=None):
        return sum(request["sent"] for request in self.requests(path))

    def break_off(self):
        """The connections of all requests that stall are closed."""
        self.breaker.send(b"!")
        self.requests()
        self.breaking.recv(1)

    def forget(self):
        with self.lock:
            self.account.clear()


def make_certificates(directory):
    """An authority, a server for loopback and a client, in PEM files of directory."""
    directory = Path(directory)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    for who, extension in ("server", names), ("client", "extendedKeyUsage=clientAuth"):
        (directory / "extension").write_text(extension + "\n")
        openssl("req", *key, "-subj", f"/CN=test {who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "30", "-extfile", "extension", "-out", f"{who}.pem")  # fmt: skip
    for name in ("extension", "server.csr", "client.csr", "ca.srl"):
        (directory / name).unlink(missing_ok=True)
    return directory


def main():
    if sys.argv[1] == "--certificates":
        make_certificates(sys.argv[2])
        return
    with Mirror(**json.loads(Path(sys.argv[1]).read_text())) as mirror:
        print(mirror.port, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            if "rules" in command:
                mirror.requests()
                mirror.rules = command["rules"]
                mirror.forget()
            print(json.dumps(mirror.requests() if "requests" in command else []), flush=True)


if __name__ == "__main__":
    main()
