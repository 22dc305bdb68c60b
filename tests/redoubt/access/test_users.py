"""Users: passwords, what follows for sessions when a user changes, the configuration and the file."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from redoubt.access.selector import UNKNOWN
from redoubt.access.user import User, digest, merged
from redoubt.access.users import UsersError
from redoubt.config import Config
from redoubt.config_file import FatalConfigError, load
from redoubt.config_rewrite import rewritten
from redoubt.node import Node
from redoubt.resp.replies import NO_REPLY, OK, ErrorReply, SimpleString
from tests.redoubt.harness import START_MS, Harness

NO_WHAT = f"users:1: Error in applying operation '-what': {UNKNOWN.decode()}. "
DENIED = ErrorReply(b"NOPERM User guest has no permissions to run the 'set' command")


def user(*rules: str) -> User:
    made = User(b"someone")
    for rule in rules:
        made.apply(rule.encode())
    return made


def test_only_digests_of_passwords_are_kept_and_shown() -> None:
    made = user("on", ">secret")
    assert made.digests == [digest(b"secret")]
    assert b"secret" not in made.describe()
    assert made.accepts(b"secret") and not made.accepts(b"other")


def test_one_of_several_passwords_is_enough_and_a_removed_one_is_not() -> None:
    made = user("on", ">one", ">two", f"#{digest(b'three').decode()}", "<one")
    assert [made.accepts(word) for word in (b"one", b"two", b"three")] == [False, True, True]


def test_a_disabled_user_has_no_password_that_fits() -> None:
    assert not user("nopass").accepts(b"")
    assert user("on", "nopass").accepts(b"anything")
    assert not user("on", "nopass", "resetpass").accepts(b"anything")


def test_reset_makes_a_new_user() -> None:
    changed = user("on", ">x", "+@all", "~*", "&*", "(+get ~a)", "skip-sanitize-payload", "reset")
    assert changed.describe() == user().describe() == b"off sanitize-payload resetchannels -@all"


def test_words_of_a_selector_may_stand_apart() -> None:
    assert merged([b"on", b"(+get", b"~a)", b"(+set)"]) == [b"on", b"(+get ~a)", b"(+set)"]


def test_any_one_selector_permits_the_whole_call() -> None:
    harness = Harness()
    admin = harness.connect()
    assert admin.ask("ACL", "SETUSER", "u", "on", "nopass", "+mget", "~a", "(+get ~b)") == OK
    client = harness.connect()
    client.ask("AUTH", "u", "")
    assert client.ask("GET", "b") is None
    assert client.ask("MGET", "a", "a") == [None, None]
    assert client.ask("GET", "a") == ErrorReply(b"NOPERM No permissions to access a key")
    assert client.ask("MGET", "a", "b") == ErrorReply(b"NOPERM No permissions to access a key")


def guests(harness: Harness, *rules: str) -> Callable[..., object]:
    """Make the user guest and return what asks as it."""
    harness.connect().ask("ACL", "SETUSER", "guest", "on", ">pw", *rules)
    client = harness.connect()
    assert client.ask("AUTH", "guest", "pw") == OK
    return client.ask


def test_sessions_follow_a_change_of_their_user_at_once() -> None:
    harness = Harness()
    ask = guests(harness, "+get", "~*")
    assert ask("SET", "k", "v") == DENIED
    harness.connect().ask("ACL", "SETUSER", "guest", "+set")
    assert ask("SET", "k", "v") == OK
    harness.connect().ask("ACL", "SETUSER", "guest", "+@all", "&*")
    assert ask("ACL", "WHOAMI") == b"guest"


def test_without_restricted_users_no_gate_is_raised() -> None:
    harness = Harness()
    client = harness.connect()
    assert client.session.gates == 0
    harness.connect().ask("ACL", "SETUSER", "default", "-flushall")
    assert client.session.gates != 0


def test_a_deleted_users_sessions_are_closed_and_the_asking_one_gets_its_reply() -> None:
    harness = Harness()
    harness.connect().ask("ACL", "SETUSER", "guest", "on", "nopass", "+@all", "~*")
    one, two = harness.connect(), harness.connect()
    assert (one.ask("AUTH", "guest", ""), two.ask("AUTH", "guest", "")) == (OK, OK)
    assert one.ask("ACL", "DELUSER", "guest") == 1
    assert (one.is_closed, two.is_closed) == (True, True)


def test_a_subscriber_is_closed_when_its_channel_is_taken_away() -> None:
    harness = Harness()
    admin = harness.connect()
    admin.ask("ACL", "SETUSER", "guest", "on", "nopass", "+@all", "&a", "&b")
    one, other = harness.connect(), harness.connect()
    for client, channel in ((one, "a"), (other, "b")):
        client.ask("AUTH", "guest", "")
        client.ask("SUBSCRIBE", channel)
    admin.ask("ACL", "SETUSER", "guest", "resetchannels", "&b")
    assert (one.is_closed, other.is_closed) == (True, False)


def test_requirepass_is_the_password_of_default_and_may_be_changed() -> None:
    harness = Harness("--requirepass", "one")
    client = harness.connect()
    assert client.ask("PING") == ErrorReply(b"NOAUTH Authentication required.")
    assert client.ask("AUTH", "one") == OK
    client.ask("CONFIG", "SET", "requirepass", "two")
    assert harness.connect().ask("AUTH", "default", "two") == OK
    assert isinstance(harness.connect().ask("AUTH", "one"), ErrorReply)


def test_a_disabled_default_user_leaves_nobody_in_without_logging_in() -> None:
    harness = Harness()
    ask = guests(harness, "+@all", "~*")
    ask("ACL", "SETUSER", "default", "off")
    newcomer = harness.connect()
    assert newcomer.ask("PING") == ErrorReply(b"NOAUTH Authentication required.")
    assert newcomer.ask("HELLO", 2, "AUTH", "guest", "pw") != NO_REPLY
    assert newcomer.ask("PING") == SimpleString(b"PONG")


def test_reset_makes_the_connection_that_of_default_again() -> None:
    harness = Harness()
    harness.connect().ask("ACL", "SETUSER", "guest", "on", "nopass", "+get")
    client = harness.connect()
    client.ask("AUTH", "guest", "")
    client.ask("RESET")
    assert client.ask("ACL", "WHOAMI") == b"default"


# The configuration and the file.


def configured(text: str, *words: str, files: dict[str, str] | None = None) -> Node:
    """Make a node of a configuration file, with other files beside it."""
    known = {"conf": text, **(files or {})}

    def read_text(path: str) -> str:
        if path not in known:
            raise FileNotFoundError(2, "No such file or directory")
        return known[path]

    config = Config(read_text)
    load(config, ["conf", *words])
    return Node(config, Random(1), START_MS)


def test_users_of_the_configuration_are_there_from_the_start() -> None:
    node = configured("user alice on >pw ~a* +get\nuser default on nopass +@all ~* -flushall\n")
    assert node.state.users.names() == [b"alice", b"default"]
    assert (
        node.state.users.lines()[1]
        == b"user default on nopass sanitize-payload ~* resetchannels +@all -flushall"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user a on\nuser a off\n", "Duplicate user found. A user can only be defined once in config files"),
        ("user\n", "wrong number of arguments"),
    ],
)
def test_a_malformed_user_line_ends_the_reading(text: str, reason: str) -> None:
    with pytest.raises(FatalConfigError) as error:
        configured(text)
    assert error.value.text.endswith(reason)


@pytest.mark.parametrize(
    "text", ["user a +nosuch\n", "user a (+get\n", "user 'a b' on\n", "aclfile f\nuser a\n"]
)
def test_users_that_cannot_be_had_end_the_start(text: str) -> None:
    with pytest.raises(UsersError):
        configured(text, files={"f": ""})


def test_the_file_replaces_all_users_and_keeps_default() -> None:
    node = configured("aclfile users\n", files={"users": "user alice on nopass +get\n\n"})
    assert node.state.users.names() == [b"alice", b"default"]
    assert not node.state.users.needs_login()


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("alice on", "users:1 should start with user keyword followed by the username. "),
        ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
        ("user a +nosuch", f"users:1: Error in applying operation '+nosuch': {UNKNOWN.decode()}. "),
        ("user a what -what what", "users:1: Syntax error. " + NO_WHAT),
        ("user a (+get", "users:1: Unmatched parenthesis in selector definition."),
    ],
)  # fmt: skip
def test_a_wrong_file_changes_nothing_and_all_errors_are_told(text: str, errors: str) -> None:
    files = {"users": "user alice on"}
    node = configured("aclfile users\n", files=files)
    node.state.config.read_text = lambda path: text
    told = node.state.users.load()
    assert told == (
        errors + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    )
    assert node.state.users.names() == [b"alice", b"default"]


def test_a_missing_file_is_told() -> None:
    with pytest.raises(UsersError) as error:
        configured("aclfile gone\n")
    assert "Error loading ACLs, opening file 'gone': No such file or directory" in error.value.text


def test_load_ends_the_sessions_of_all_but_default() -> None:
    harness = Harness()
    config = harness.node.state.config
    config.aclfile = "users"
    config.read_text = lambda path: "user guest on nopass +@all"
    admin = harness.connect()
    assert admin.ask("ACL", "LOAD") == OK
    client = harness.connect()
    client.ask("AUTH", "guest", "")
    assert admin.ask("ACL", "LOAD") == OK
    assert (client.is_closed, admin.is_closed) == (True, False)


def test_saved_users_are_those_that_are_loaded() -> None:
    harness = Harness()
    harness.node.state.config.aclfile = "users"
    admin = harness.connect()
    admin.ask("ACL", "SETUSER", "guest", "on", ">pw", "+@read", "-get", "%R~a*", "&c", "(+set ~b)")
    before = admin.ask("ACL", "LIST")
    assert admin.ask("ACL", "SAVE") == OK
    harness.node.state.config.read_text = lambda path: harness.files[path].decode()
    admin.ask("ACL", "DELUSER", "guest")
    assert admin.ask("ACL", "LOAD") == OK
    assert admin.ask("ACL", "LIST") == before
    harness.disk_error = "No space left on device"
    assert admin.ask("ACL", "SAVE") == ErrorReply(
        b"ERR There was an error trying to save the ACLs. Please check the server logs for more information"
    )


def test_rewriting_the_configuration_keeps_users_and_leaves_requirepass_to_its_line() -> None:
    node = configured("requirepass pw\nuser alice on +get\nuser gone on\n")
    users = node.state.users
    users.by_name.pop(b"gone")
    text = rewritten("requirepass pw\nuser gone on\nuser alice on +get\n", node.state.config, ("", 0),
                     users.configured_lines())  # fmt: skip
    assert [line for line in text.splitlines() if line.startswith("user")] == [
        "user alice on sanitize-payload resetchannels -@all +get"
    ]
    users.default.apply(b"-flushall")
    assert len(users.configured_lines()) == 2
