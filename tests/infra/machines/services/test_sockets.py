"""No port of the running stack answers without credentials: every socket it listens on is found and tried.

What to expect of a probe that is let in is itself tested: with the lake's own credentials the same probes succeed.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import psycopg
import pytest

from infra import database, endpoints, secrets
from infra.machines.services import processes
from infra.machines.services.places import socket_dir
from infra.machines.services.ports import LOOPBACK, load
from infra.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow]

PATHS = (
    "/",
    "/status",
    "/metrics",
    "/health",
    "/healthz",
    "/debug/pprof/",
    # SeaweedFS: master, volume server, filer, maintenance
    "/dir/assign",
    "/dir/lookup?volumeId=1",
    "/dir/status",
    "/cluster/status",
    "/vol/status",
    "/vol/grow?count=1",
    "/col/delete?collection=lake",
    "/submit",
    "/ui/index.html",
    "/stats/disk",
    "/buckets/",
    "/buckets/lake/?pretty=y",
    "/buckets/landing/probe.txt",
    "/etc/iam/identity.json",
    "/api/cluster/topology",
    # S3
    "/landing",
    "/lake?list-type=2",
    "/lake?policy",
    "/docs/probe.txt",
    "/minio/v2/metrics/cluster",
    "/minio/admin/v3/info",
    # Airflow
    "/api/v2/dags",
    "/api/v2/connections",
    "/ui/config",
    "/execution/variables/probe",
    "/auth/fab/v1/users",
    "/log/probe",
)
# What everyone may read: whether it is alive, which version it is, the page that asks for the login and the program
# of the page itself, which shows nothing until then.
HARMLESS = frozenset(
    {
        "/",
        "/status",
        "/metrics",
        "/health",
        "/healthz",
        "/api/v2/version",
        "/api/v2/monitor/health",
        "/execution/health",
    }
)
HARMLESS_BODY_MARKS = (b"<title>Airflow</title>", b'"status":"healthy"', b'"version":')
GRPC_METHODS = (
    "/filer_pb.SeaweedFiler/GetFilerConfiguration",
    "/filer_pb.SeaweedFiler/ListEntries",
    "/filer_pb.SeaweedFiler/CreateEntry",
    "/filer_pb.SeaweedFiler/Statistics",
    "/master_pb.Seaweed/Assign",
    "/master_pb.Seaweed/Statistics",
    "/master_pb.Seaweed/VolumeList",
    "/volume_server_pb.VolumeServer/VolumeServerStatus",
    "/iam_pb.SeaweedIdentityAccessManagement/ListUsers",
    "/messaging_pb.SeaweedMessaging/ListTopics",
    "/worker_pb.WorkerService/WorkerStream",
)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


def tcp_ports(settings: Settings) -> list[int]:
    return sorted({port for _, port in processes.listening(settings)})


def unix_sockets(settings: Settings) -> list[Path]:
    """Every named unix socket that a process of the lake holds and that somebody can connect to."""
    paths = {
        Path(str(connection.laddr))
        for _, process in processes.of_lake(settings)
        for connection in process.net_connections(kind="unix")
        if connection.laddr
    }
    paths |= set(socket_dir(settings).iterdir())
    return sorted(path for path in paths if path.exists())


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> Answer | None:
    """The answer, or None where there was none (refused handshake, another protocol)."""
    try:
        connection.request(method, path, body=b"probe" if method in {"PUT", "POST"} else None)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(2000))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def without_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def http_probes(port: int) -> Iterator[tuple[str, Answer]]:
    for scheme in ("http", "https"):
        for method in ("GET", "PUT", "POST", "DELETE"):
            for path in PATHS:
                connection = (
                    http.client.HTTPConnection(LOOPBACK, port, timeout=5)
                    if scheme == "http"
                    else http.client.HTTPSConnection(LOOPBACK, port, timeout=5, context=without_certificate())
                )
                answer = ask(connection, method, path)
                if answer is None and (method, path) == ("GET", "/"):
                    break  # the port does not speak this scheme, or not to us
                if answer is not None:
                    yield f"{method} {scheme}://{LOOPBACK}:{port}{path}", answer
            else:
                continue
            break


def reveals(probe: str, answer: Answer) -> bool:
    """Whether an answer says more than that somebody is there and wants credentials."""
    if answer.status >= 300:
        return False
    path = "/" + probe.split("://", 1)[1].split("/", 1)[1]
    if not probe.startswith("GET "):
        return True
    harmless = not answer.body or any(mark in answer.body for mark in HARMLESS_BODY_MARKS)
    return not (harmless and (path in HARMLESS or b"<title>Airflow</title>" in answer.body))


def test_the_stack_listens_on_loopback_only(airflow_lake: Settings) -> None:
    hosts = {host for host, _ in processes.listening(airflow_lake)}
    assert hosts <= {LOOPBACK, "::1"}


def test_every_listening_port_is_one_we_know(airflow_lake: Settings) -> None:
    ports = load(airflow_lake)
    known = {*ports.values(), ports["seaweedfs-admin"] + 10_000}
    assert set(tcp_ports(airflow_lake)) == known
    assert len(known) == 13


def test_http_without_credentials_reads_and_writes_nothing(airflow_lake: Settings) -> None:
    leaks = [
        f"{probe}: {answer.status} {answer.body[:80]!r}"
        for port in tcp_ports(airflow_lake)
        for probe, answer in http_probes(port)
        if reveals(probe, answer)
    ]
    assert leaks == []


def test_http_probes_do_get_in_with_the_certificate(airflow_lake: Settings) -> None:
    bundle = secrets.path(airflow_lake, "seaweedfs-tls.pem")
    context = without_certificate()
    context.load_cert_chain(bundle)
    master = load(airflow_lake)["seaweedfs-master"]
    answer = ask(http.client.HTTPSConnection(LOOPBACK, master, timeout=5, context=context), "GET", "/dir/status")
    assert answer is not None
    assert answer.status == 200
    assert reveals("GET https://x/dir/status", answer)


def grpc_call(channel: grpc.Channel, method: str) -> grpc.StatusCode:
    try:
        channel.unary_unary(method)(b"", timeout=3)
    except grpc.RpcError as refusal:
        return refusal.code()
    return grpc.StatusCode.OK


def test_grpc_without_a_certificate_gets_no_answer(airflow_lake: Settings) -> None:
    authority = secrets.path(airflow_lake, "seaweedfs-tls.pem").read_bytes()
    targets = [f"{LOOPBACK}:{port}" for port in tcp_ports(airflow_lake)]
    targets += [f"unix:{path}" for path in unix_sockets(airflow_lake)]
    answered = []
    for target in targets:
        for channel in (
            grpc.insecure_channel(target),
            grpc.secure_channel(target, grpc.ssl_channel_credentials(authority)),
        ):
            with channel:
                codes = {GRPC_METHODS[0]: grpc_call(channel, GRPC_METHODS[0])}
                if codes[GRPC_METHODS[0]] not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    codes |= {method: grpc_call(channel, method) for method in GRPC_METHODS}
                answered += [f"{target} {method}: {code}" for method, code in codes.items() if _let_in(code)]
    assert answered == []


def _let_in(code: grpc.StatusCode) -> bool:
    """Anything but a refusal, or the silence of a server of another protocol, comes from behind the door."""
    return code not in {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }


def test_grpc_probes_do_get_in_with_the_certificate(airflow_lake: Settings) -> None:
    bundle = secrets.path(airflow_lake, "seaweedfs-tls.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(bundle, private_key=bundle, certificate_chain=bundle)
    with grpc.secure_channel(f"{LOOPBACK}:{load(airflow_lake)['seaweedfs-filer-grpc']}", credentials) as channel:
        assert grpc_call(channel, GRPC_METHODS[0]) == grpc.StatusCode.OK


def test_postgres_lets_nobody_in_without_the_password(airflow_lake: Settings) -> None:
    at = endpoints.load(airflow_lake)
    for user in ("postgres", database.ADMIN_USER, *database.ROLES):
        for given in ("", "postgres", user):
            with pytest.raises(psycopg.OperationalError, match=r"password authentication failed|no password supplied"):
                psycopg.connect(
                    host=at.postgres_host,
                    port=at.postgres_port,
                    user=user,
                    dbname="postgres",
                    password=given,
                    passfile=os.devnull,
                    connect_timeout=5,
                )
    with database.connect(airflow_lake, "admin", "postgres") as connection:
        methods = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
    assert methods == [("scram-sha-256",)]


def test_unix_sockets_are_closed_to_others_and_ask_for_credentials(airflow_lake: Settings) -> None:
    found = unix_sockets(airflow_lake)
    assert found
    for path in found:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, f"others may connect to {path}"
        for url in ("/", "/buckets/", "/dir/assign", "/RPC2", "/lake?list-type=2"):
            for method in ("GET", "POST", "PUT"):
                connection = http.client.HTTPConnection("localhost", timeout=5)
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(5)
                try:
                    connection.sock.connect(str(path))
                except ConnectionRefusedError:
                    continue  # left by an earlier process: nobody is behind it
                answer = ask(connection, method, url)
                assert answer is None or answer.status >= 400, f"{method} {url} on {path}: {answer}"


def test_every_resource_of_the_airflow_api_wants_a_login(airflow_lake: Settings) -> None:
    """Each path of the API's own description, and of the pages behind the UI, for every method it has."""
    port = load(airflow_lake)["airflow"]

    def send(method: str, path: str) -> Answer:
        answer = ask(http.client.HTTPConnection(LOOPBACK, port, timeout=15), method, path)
        assert answer is not None
        return answer

    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=15)
    connection.request("GET", "/openapi.json")
    described = json.loads(connection.getresponse().read())["paths"]
    connection.close()
    assert len(described) > 50
    public = {"/api/v2/version", "/api/v2/monitor/health", "/api/v2/auth/login", "/api/v2/auth/logout"}
    open_ones = []
    for template, methods in described.items():
        path = template
        while "{" in path:
            path = f"{path[: path.index('{')]}probe{path[path.index('}') + 1 :]}"
        for method in methods:
            status = send(method.upper(), path).status
            # The login itself answers, and says no to an empty one.
            if path not in public and not path.startswith("/auth/") and status not in {401, 403, 405}:
                open_ones.append(f"{method} {path}: {status}")
    assert open_ones == []
    refused = send("POST", "/auth/token")
    assert refused.status in {400, 401, 422, 429}


def test_another_users_processes_cannot_read_the_secrets(airflow_lake: Settings) -> None:
    for path in (airflow_lake.secrets_dir, *airflow_lake.secrets_dir.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    private = [
        airflow_lake.run_dir / name for name in ("supervisord.conf", "airflow/airflow.cfg", "seaweedfs/security.toml")
    ]
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    values = {
        path.read_text().strip()
        for path in airflow_lake.secrets_dir.iterdir()
        if path.name.startswith(("pg-", "s3-", "airflow-"))
    }
    for _, process in processes.of_lake(airflow_lake):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert not any(value in line for value in values), f"{process.name()} shows a secret in its command line"
