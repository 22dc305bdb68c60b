"""The judge of the stories about moves is itself judged: it must object to what it exists for."""

from __future__ import annotations

from tests.sim.ledger import LATEST, Account


def test_a_promised_value_or_a_later_one_may_be_found_and_nothing_older() -> None:
    account = Account("k", is_log=False)
    account.attempt(b"1")
    account.promise(account.attempt(b"2"))
    account.attempt(b"3")
    assert account.objection(b"2", 0) == account.objection(b"3", 0) == ""
    assert account.objection(b"1", 0) == "k holds b'1' after 2 of 3 was promised; it is the outcome of 1"
    assert account.objection(None, 0) != ""


def test_a_deleted_value_must_not_come_back() -> None:
    account = Account("k", is_log=False)
    account.promise(account.attempt(b"1"))
    account.promise(account.attempt(None))
    assert account.objection(None, 0) == ""
    assert account.objection(b"1", 0) != ""


def test_an_expired_value_must_not_be_there_at_the_end() -> None:
    account = Account("k", is_log=False)
    account.promise(account.attempt(b"1", fades_ms=50))
    assert account.objection(b"1", 49) == account.objection(None, 50) == account.objection(None, LATEST) == ""
    assert account.objection(None, 49) != ""
    assert account.objection(b"1", LATEST) == "k holds b'1', which has expired"


def test_a_log_shows_what_was_promised_once_and_in_order() -> None:
    account = Account("k", is_log=True)
    for item in (b"1", b"2", b"3"):
        account.attempt(item)
    account.promise(0)
    account.promise(2)
    assert account.objection([b"1", b"3"], 0) == account.objection([b"1", b"2", b"3"], 0) == ""
    for wrong in ([b"1"], [b"1", b"3", b"3"], [b"3", b"1"], [b"1", b"3", b"9"], None):
        assert account.objection(wrong, 0) != ""


def test_a_forgiven_key_may_hold_anything() -> None:
    account = Account("k", is_log=False)
    account.promise(account.attempt(b"1"))
    account.forgive()
    assert account.objection(None, 0) == ""
