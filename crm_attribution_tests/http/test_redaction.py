from __future__ import annotations

import logging

import pytest

from crm_attribution.http.transport import RedactingFilter, folded, redact


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("GET /x?access_token=EAAB123&fields=id", "GET /x?access_token=***&fields=id"),
        ('{"refresh_token": "abc123", "n": 1}', '{"refresh_token": "***", "n": 1}'),
        ("token pat-na1-1234abcd-5678 used", "token *** used"),
        ("contact jane.doe+x@mail.acme.co.uk failed", "contact *** failed"),
        ("email=jane%40acme.test", "email=***"),
        ("phone +49 (170) 123-4567 bad", "phone *** bad"),
        ("client_secret=s3cr3t", "client_secret=***"),
        ("Set-Cookie: a=b; Path=/", "Set-Cookie: ***"),
        ("the value hunter2hunter2 leaked", "the value *** leaked"),
        ("at 2026-04-23T11:04:19+00:00 deal 84721: 200", "at 2026-04-23T11:04:19+00:00 deal 84721: 200"),
        ("crm_attribution/transport.py:12 @asset raised", "crm_attribution/transport.py:12 @asset raised"),
    ],
)
def test_redact(text, clean):
    assert redact(text, ["hunter2hunter2", ""]) == clean
    assert redact(clean, ["hunter2hunter2"]) == clean


def test_the_filter_cleans_arguments_and_tracebacks(caplog):
    handler = caplog.handler
    secret = RedactingFilter(["hunter2hunter2"])
    handler.addFilter(secret)
    try:
        log = logging.getLogger("crm_attribution.anything")
        try:
            raise ValueError("hunter2hunter2 of jane@acme.test")
        except ValueError:
            log.exception("failed for %s with %d", "jane@acme.test", 3)
        log.warning("100% of jane@acme.test")
    finally:
        handler.removeFilter(secret)
    assert "hunter2" not in caplog.text
    assert "jane" not in caplog.text
    assert "failed for *** with 3" in caplog.text
    assert "ValueError: *** of ***" in caplog.text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/crm/objects/2026-09/contacts/batch/read", "/crm/objects/2026-09/contacts/batch/read"),
        ("/crm/v3/objects/0-3/84721", "/crm/v3/objects/0-3/{id}"),
        ("/contacts/jane@acme.test", "/contacts/{id}"),
        ("/contacts/jane%40acme.test?x=1", "/contacts/{id}"),
        ("/v1/events:ingest", "/v1/events:ingest"),
    ],
)
def test_folded(path, shown):
    assert folded(path) == shown
