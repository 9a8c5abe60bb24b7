"""Warnings: told once, to a real mail server and a real webhook, whatever of both is down."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from receivers import Hook, Mailbox, mail_server, webhook

from calanque.cli.commands import diagnosis
from infra import database, secrets
from infra.calendar import clock
from infra.machines.stores.certificates import certificate_bundle
from infra.settings import Settings
from ingestion.register import silos
from stewardship.alerts import Alert, BrokenRule, book, raise_alert, resolve_alert, send_pending, settle

pytestmark = pytest.mark.live

ALERT = Alert(
    kind="quarantine-spike",
    key="tows/0123456789ab",
    subject="12 % of a delivery of tows is quarantined",
    silo_or_mart="tows",
    owner="Fourrière municipale",
    sentence="Of 1,000 rows of tows.csv (delivery 0123456789ab), 120 are quarantined; usually it is 1 %.",
    details={"delivery": "0123456789ab"},
    rules=(BrokenRule("date_unreadable", "Write the date as 2026-03-01.", 120, tuple(range(2, 102))),),
)


@pytest.fixture
def quiet_lake(lake: Settings) -> Iterator[Settings]:
    """A lake of which nothing is warned, before and after."""
    _forget(lake)
    yield lake
    _forget(lake)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as found:
        yield found


def _forget(lake: Settings) -> None:
    with database.connect(lake, database.ADMIN, "lake") as connection:
        connection.execute("truncate registry.alert, registry.notice")


def mailing(lake: Settings, url: str, **others: object) -> Settings:
    given = {"smtp_url": url, "alert_to": "steward@city.test, dpo@city.test", "alert_from": "lake@city.test", **others}
    return lake.model_copy(update=given)


def rows(lake: Settings, query: str) -> list[tuple[object, ...]]:
    with database.connect(lake, "steward", "lake") as connection:
        return connection.execute(query).fetchall()


def test_a_message_says_which_rows_what_it_means_who_acts_and_where_to_read_on(
    quiet_lake: Settings, box: Mailbox
) -> None:
    settings = mailing(quiet_lake, box.url, runbooks_url="https://wiki.city.test/calanque")
    assert raise_alert(settings, ALERT)
    (message,) = box.messages
    assert message["Subject"] == "[Calanque marseille] quarantine-spike: " + ALERT.subject
    assert message["To"] == "steward@city.test, dpo@city.test"
    assert message["Auto-Submitted"] == "auto-generated"
    body = message.get_content()
    for expected in (
        ALERT.sentence,
        "Rule date_unreadable: 120 rows.",
        "Write the date as 2026-03-01.",
        "Rows 2, 3, 4,",
        "21 and 100 more",
        "Owner: Fourrière municipale",
        "https://wiki.city.test/calanque/quarantine-spike.md",
    ):
        assert expected in body


def test_while_it_stands_it_is_told_once_and_after_that_again(quiet_lake: Settings, box: Mailbox) -> None:
    settings = mailing(quiet_lake, box.url)
    assert raise_alert(settings, ALERT)
    assert not raise_alert(settings, replace(ALERT, sentence="Still."))
    assert len(box.messages) == 1
    assert rows(quiet_lake, "select count, sentence from registry.alert") == [(2, "Still.")]

    assert resolve_alert(settings, ALERT.kind, ALERT.key, "The delivery was mended.")
    assert not resolve_alert(settings, ALERT.kind, ALERT.key, "Twice.")
    assert len(box.messages) == 2
    assert box.messages[1]["In-Reply-To"] == box.messages[0]["Message-ID"]
    assert "The delivery was mended." in box.messages[1].get_content()
    assert "resolved" in box.messages[1]["Subject"]

    assert raise_alert(settings, ALERT)
    assert len(box.messages) == 3
    assert rows(quiet_lake, "select count(*), count(resolved_at) from registry.alert") == [(2, 1)]


def test_many_processes_at_once_send_one_message(quiet_lake: Settings, box: Mailbox) -> None:
    settings = mailing(quiet_lake, box.url)
    began: list[bool] = []

    def warn() -> None:
        began.append(raise_alert(settings, ALERT))
        send_pending(settings)

    threads = [threading.Thread(target=warn) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(began) == [False] * 5 + [True]
    assert len(box.messages) == 1


def test_a_dead_mail_server_fails_nobody_and_the_message_waits(quiet_lake: Settings, box: Mailbox, hook: Hook) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"smtp://127.0.0.1:{unused.getsockname()[1]}"
    settings = mailing(quiet_lake, dead, webhook_url=hook.url)
    assert raise_alert(settings, ALERT)
    assert len(hook.posts) == 1
    assert rows(quiet_lake, "select channel, attempts, error from registry.notice where sent_at is null") == [
        ("email", 1, "the mail server does not answer: ConnectionRefusedError")
    ]
    alive = settings.model_copy(update={"smtp_url": box.url})
    assert send_pending(alive).sent == 1
    assert send_pending(alive).sent == 0
    assert [len(box.messages), len(hook.posts)] == [1, 1]


def test_what_came_and_went_while_the_mail_server_was_away_is_told_once(quiet_lake: Settings, box: Mailbox) -> None:
    box.answer = "451 try again later"
    settings = mailing(quiet_lake, box.url)
    assert raise_alert(settings, ALERT)
    assert resolve_alert(settings, ALERT.kind, ALERT.key, "The delivery was mended.")
    assert not box.messages
    box.answer = "250 OK"
    assert send_pending(settings).sent == 1
    (body,) = box.bodies()
    assert body.startswith("This is over since")
    assert ALERT.sentence in body
    assert send_pending(settings).sent == 0


def test_a_flood_is_one_message(quiet_lake: Settings, box: Mailbox, hook: Hook) -> None:
    settings = mailing(quiet_lake, box.url, webhook_url=hook.url)
    flood = [replace(ALERT, key=f"tows/{number}", subject=f"delivery {number}") for number in range(30)]
    with database.connect(settings, "pipeline", "lake") as connection:
        begun, over = settle(settings, connection, ["quarantine-spike"], flood, "over")
    assert [len(begun), over] == [30, []]
    assert send_pending(settings).sent == 60
    (message,) = box.messages
    assert message["Subject"] == "[Calanque marseille] 30 messages"
    assert message.get_content().count(ALERT.sentence) == 30
    assert len(hook.posts) == 30


POUND, IT = "Direction de la police, gestion de la fourrière", "data-platform"


def owners(folder: Path, **mine: str) -> dict[str, object]:
    path = folder / "owners.toml"
    path.write_text(f'"{POUND}" = ["pound@city.test"]\n{IT} = ["it@city.test", "night@city.test"]\n', "utf-8")
    return {"alert_owners": path, "alert_to": "everybody@city.test", **mine}


def warn_all(settings: Settings, *owned: str) -> None:
    """An alert of each of these owners, the first one first."""
    alerts = [replace(ALERT, owner=owner, key=f"tows/{number}") for number, owner in enumerate(owned)]
    with database.connect(settings, "pipeline", "lake") as connection:
        settle(settings, connection, ["quarantine-spike"], alerts, "The delivery was mended.")


def test_what_has_an_owner_goes_to_its_owner_and_the_rest_to_everybody(
    quiet_lake: Settings, box: Mailbox, hook: Hook, tmp_path: Path
) -> None:
    settings = mailing(quiet_lake, box.url, webhook_url=hook.url, **owners(tmp_path))
    warn_all(settings, POUND, "somebody else", *[IT] * 6)
    assert send_pending(settings).sent == 16
    assert [(message["To"], message.get_content().count("Owner:")) for message in box.messages] == [
        ("pound@city.test", 1),
        ("everybody@city.test", 1),
        ("it@city.test, night@city.test", 6),  # a flood to the same people is one message
    ]
    assert len(hook.posts) == 8
    warn_all(settings)
    assert send_pending(settings).sent == 16
    assert [message["To"] for message in box.messages[3:]] == [message["To"] for message in box.messages[:3]]


def test_an_address_that_nobody_has_stops_no_warning(quiet_lake: Settings, box: Mailbox, tmp_path: Path) -> None:
    settings = mailing(quiet_lake, box.url, **owners(tmp_path))
    box.unknown = {"pound@city.test"}
    warn_all(settings, POUND, IT)
    assert send_pending(settings).sent == 2
    assert [message["To"] for message in box.messages] == ["everybody@city.test", "it@city.test, night@city.test"]

    box.unknown = {"pound@city.test", "everybody@city.test", "night@city.test"}
    warn_all(settings)  # it is over: the pound's waits, and holds up nobody
    found = send_pending(settings)
    assert (found.sent, found.failures) == (1, ("email: the mail server refuses every recipient of CALANQUE_ALERT_TO",))
    assert box.messages[2]["To"] == "it@city.test, night@city.test"


@pytest.mark.parametrize("text", ["it = ", "it = 7", 'it = "it@city.test"', None], ids=str)
def test_addresses_that_cannot_be_read_leave_one_mailbox_for_all(
    quiet_lake: Settings, box: Mailbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    path = tmp_path / "owners.toml"
    if text is not None:
        path.write_text(text)
    settings = mailing(quiet_lake, box.url, alert_owners=path, alert_to="everybody@city.test")
    assert raise_alert(settings, replace(ALERT, owner=IT))
    assert [message["To"] for message in box.messages] == ["everybody@city.test"]
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("stewardship."))
    assert "CALANQUE_ALERT_OWNERS" in ours
    assert "city.test" not in ours  # the receiver's own log is another matter


def test_the_doctor_knows_whom_warnings_reach(tmp_path: Path) -> None:
    def found(**given: object) -> list[tuple[str, str]]:
        settings = Settings(home=tmp_path).model_copy(update=given)
        return [(finding.verdict, finding.detail) for finding in diagnosis.people(settings)]

    steward = silos()["tows"].steward
    mail = {"smtp_url": "smtp://127.0.0.1", "alert_to": "everybody@city.test", "alert_owners": tmp_path / "owners.toml"}
    assert found() == [("warn", "told to nobody, only listed by `calanque alerts`")]
    assert found(webhook_url="http://127.0.0.1") == [("ok", "by webhook")]
    assert found(**mail)[0][0] == "fail"
    mail["alert_owners"].write_text(f'"{steward}" = ["pound@city.test"]\n', "utf-8")
    assert [verdict for verdict, _ in found(**mail)] == ["ok"]
    mail["alert_owners"].write_text(f'"{steward.title()}" = ["pound@city.test"]\n', "utf-8")
    assert found(**mail)[0] == ("fail", f"no warning is ever for {steward.title()!r}")


def test_settling_resolves_what_does_not_stand_any_more(quiet_lake: Settings) -> None:
    other = replace(ALERT, kind="volume", key="tows/2026-03-05")
    with database.connect(quiet_lake, "pipeline", "lake") as connection:
        settle(quiet_lake, connection, ["quarantine-spike", "volume"], [ALERT, other], "over")
        begun, over = settle(quiet_lake, connection, ["volume"], [], "The rows came.")
        assert [begun, over] == [[], [("volume", "tows/2026-03-05")]]
        assert [episode.kind for episode in book.standing(connection)] == ["quarantine-spike"]


def test_the_webhook_gets_a_signed_document(quiet_lake: Settings, hook: Hook) -> None:
    secrets.write(quiet_lake, "webhook-key", "a key of this test")
    try:
        settings = quiet_lake.model_copy(update={"webhook_url": hook.url})
        raise_alert(settings, ALERT)
        assert hook.signed_with(secrets.read(quiet_lake, "webhook-key"))
    finally:
        secrets.path(quiet_lake, "webhook-key").unlink()
    (document,) = hook.documents()
    assert document["phase"] == "begun"
    assert document["owner"] == ALERT.owner
    assert document["details"]["rules"][0]["row_numbers"][:2] == [2, 3]
    assert document["runbook"] == "docs/runbooks/quarantine-spike.md"


def test_a_webhook_that_refuses_is_tried_again(quiet_lake: Settings, hook: Hook) -> None:
    hook.status = 503
    settings = quiet_lake.model_copy(update={"webhook_url": hook.url + "?token=do-not-tell"})
    assert raise_alert(settings, ALERT)
    assert rows(quiet_lake, "select error from registry.notice") == [("the webhook answered 503",)]
    hook.status = 200
    assert send_pending(settings).sent == 1


def test_a_login_is_sent_over_tls_only_and_never_told(
    quiet_lake: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logins: list[bytes] = []

    def authenticate(*arguments: object) -> AuthResult:
        given = arguments[-1]
        assert isinstance(given, LoginPassword)
        logins.append(given.password)
        return AuthResult(success=given.password == b"swordfish!", handled=False)

    caplog.set_level(logging.DEBUG)
    with mail_server() as open_server:  # offers neither TLS nor login
        settings = mailing(quiet_lake, open_server.url.replace("//", "//lake:swordfish%21@"))
        assert raise_alert(settings, ALERT)
        assert not open_server.messages

    bundle = certificate_bundle(Settings(home=tmp_path), "mail")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with mail_server(tls_context=context, authenticator=authenticate, auth_required=True) as closed:
        wrong = mailing(quiet_lake, closed.url.replace("//", "//lake:herring@"))
        assert send_pending(wrong).failures == ("email: the mail server answered 535 (SMTPAuthenticationError)",)
        secrets.write(quiet_lake, "smtp-password", "swordfish!")
        try:
            assert send_pending(mailing(quiet_lake, closed.url.replace("//", "//lake@"))).sent == 1
        finally:
            secrets.path(quiet_lake, "smtp-password").unlink()
        assert len(closed.messages) == 1
    assert logins[-1] == b"swordfish!"
    told = caplog.text + str(rows(quiet_lake, "select error from registry.notice")) + repr(settings) + repr(wrong)
    assert "swordfish" not in told
    assert "herring" not in told


def test_without_a_registry_a_warning_is_logged_and_fails_nobody(
    lake: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = lake.model_copy(update={"home": lake.home / "nowhere"})
    assert not raise_alert(nowhere, ALERT)
    assert not resolve_alert(nowhere, ALERT.kind, ALERT.key, "over")
    assert ALERT.sentence in caplog.text
    with pytest.raises(Exception, match="calanque up"):
        send_pending(nowhere)


def test_nobody_is_told_of_what_was_over_long_ago(quiet_lake: Settings, box: Mailbox) -> None:
    raise_alert(quiet_lake, ALERT)  # with no channel
    resolve_alert(quiet_lake, ALERT.kind, ALERT.key, "over")
    later = mailing(quiet_lake, box.url, now=clock.now(quiet_lake) + book.STALE + timedelta(minutes=1))
    assert send_pending(later).sent == 0


def test_a_subject_cannot_smuggle_in_a_header(quiet_lake: Settings, box: Mailbox) -> None:
    raise_alert(mailing(quiet_lake, box.url), replace(ALERT, subject="odd\r\nBcc: everybody@city.test"))
    assert box.messages[0]["Bcc"] is None


def test_only_the_pipeline_writes_alerts(quiet_lake: Settings) -> None:
    for role in ("publisher", "steward", "retention"):
        with (
            database.connect(quiet_lake, role, "lake") as connection,
            pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)),
        ):
            connection.execute("delete from registry.alert")
