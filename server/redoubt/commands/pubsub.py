"""Publish and subscribe: SUBSCRIBE, PUBLISH, PUBSUB and their forms for patterns and shard channels.

Who listens to what is kept by `redoubt.pubsub`. A publication goes to this server's subscribers, then
further: to the replicas as part of the history, or in a cluster over the bus, a shard channel's only to the
nodes of its shard. What is answered are the deliveries of this server alone.

SUBSCRIBE and its relatives answer with a confirmation for each channel, which RESP3 clients get as pushes.
Which channels a user may use is judged before a command runs (`redoubt.admission`).

The dispatcher runs these. Source: the Redis command reference, group "pubsub", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import (
    FAST,
    LOADING,
    MAY_REPLICATE,
    NOSCRIPT,
    NOT_KEY,
    PUBSUB,
    PUBSUB_GROUP,
    STALE,
    SUBSCRIBED,
    KeySpec,
    command,
    container,
    wrong_words,
)
from redoubt.pubsub import CHANNEL, CONFIRMATIONS, PATTERN, SHARD_CHANNEL
from redoubt.resp.replies import Push, Pushes, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

LISTENING: Final = PUBSUB | NOSCRIPT | LOADING | STALE | SUBSCRIBED
ASKING_WHO: Final = PUBSUB | LOADING | STALE
PUBLISHING: Final = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE
# Shard channels are no keys, but routed like keys.
CHANNELS_ROUTED: Final = KeySpec(NOT_KEY, index=1, last=-1)
CHANNEL_ROUTED: Final = KeySpec(NOT_KEY, index=1)


def _subscribe(ctx: Session, kind: int, names: list[bytes]) -> Reply:
    return _several([ctx.state.pubsub.subscribe(ctx, kind, name) for name in names])


def _unsubscribe(ctx: Session, kind: int, names: list[bytes]) -> Reply:
    """Give up these subscriptions, or all of the kind if none is named."""
    pubsub = ctx.state.pubsub
    subscriptions = ctx.subscriptions
    if not names and subscriptions is not None:
        names = list(subscriptions.names[kind])
    if not names:
        left = 0 if subscriptions is None else subscriptions.count(kind)
        return Push([CONFIRMATIONS[kind][1], None, left])
    return _several([pubsub.unsubscribe(ctx, kind, name) for name in names])


def _several(pushes: list[Push]) -> Reply:
    return pushes[0] if len(pushes) == 1 else Pushes(pushes)


@command("SUBSCRIBE", "channel [channel ...]", group=PUBSUB_GROUP, flags=LISTENING, since="2.0.0",
         complexity="O(N) for N channels", summary="Listen to channels.")  # fmt: skip
def subscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, CHANNEL, argv[1:])


@command("UNSUBSCRIBE", "[channel [channel ...]]", group=PUBSUB_GROUP, flags=LISTENING, since="2.0.0",
         complexity="O(N) for N channels",
         summary="Listen no more to channels, or to none at all.")  # fmt: skip
def unsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, CHANNEL, argv[1:])


@command("PSUBSCRIBE", "pattern:pattern [pattern:pattern ...]", group=PUBSUB_GROUP, flags=LISTENING,
         since="2.0.0", complexity="O(N) for N patterns",
         summary="Listen to all channels whose names fit a pattern.")  # fmt: skip
def psubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, PATTERN, argv[1:])


@command("PUNSUBSCRIBE", "[pattern:pattern [pattern:pattern ...]]", group=PUBSUB_GROUP, flags=LISTENING,
         since="2.0.0", complexity="O(N) for N patterns",
         summary="Listen no more to channels that fit a pattern, or to no pattern at all.")  # fmt: skip
def punsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, PATTERN, argv[1:])


@command("SSUBSCRIBE", "shardchannel [shardchannel ...]", group=PUBSUB_GROUP, flags=LISTENING, since="7.0.0",
         complexity="O(N) for N channels", key_specs=[CHANNELS_ROUTED],
         summary="Listen to shard channels.")  # fmt: skip
def ssubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, SHARD_CHANNEL, argv[1:])


@command("SUNSUBSCRIBE", "[shardchannel [shardchannel ...]]", group=PUBSUB_GROUP, flags=LISTENING,
         since="7.0.0", complexity="O(N) for N channels", key_specs=[CHANNELS_ROUTED],
         summary="Listen no more to shard channels, or to none at all.")  # fmt: skip
def sunsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, SHARD_CHANNEL, argv[1:])


@command("PUBLISH", "channel message", group=PUBSUB_GROUP, flags=PUBLISHING, since="2.0.0",
         complexity="O(N+M) for N subscribers of the channel and M patterns of all clients",
         summary="Send a message to who listens to a channel.")  # fmt: skip
def publish(ctx: Session, argv: list[bytes]) -> Reply:
    count = ctx.state.pubsub.publish(argv[1], argv[2])
    _pass_on(ctx, argv, False)
    return count


@command("SPUBLISH", "shardchannel message", group=PUBSUB_GROUP, flags=PUBLISHING, since="7.0.0",
         complexity="O(N) for N subscribers of the channel", key_specs=[CHANNEL_ROUTED],
         summary="Send a message to who listens to a shard channel.")  # fmt: skip
def spublish(ctx: Session, argv: list[bytes]) -> Reply:
    count = ctx.state.pubsub.publish_to_shard(argv[1], argv[2])
    _pass_on(ctx, argv, True)
    return count


def _pass_on(ctx: Session, argv: list[bytes], is_sharded: bool) -> None:
    """Send a publication on: over the bus of a cluster, else to our replicas."""
    state = ctx.state
    if state.cluster is not None:
        state.cluster.publish(argv[1], argv[2], is_sharded, state.now_ms)
    elif state.replication.is_feeding and not state.replication.is_replica:
        state.replication.feed(ctx.database, argv)


container("PUBSUB", group=PUBSUB_GROUP, since="2.8.0", summary="Inspect who listens to what.")


@command("PUBSUB CHANNELS", "[pattern:pattern]", group=PUBSUB_GROUP, flags=ASKING_WHO, since="2.8.0",
         complexity="O(N) for N channels",
         summary="List the channels of this server that somebody listens to.")  # fmt: skip
def pubsub_channels(ctx: Session, argv: list[bytes]) -> Reply:
    return _names(ctx, CHANNEL, argv)


@command("PUBSUB SHARDCHANNELS", "[pattern:pattern]", group=PUBSUB_GROUP, flags=ASKING_WHO, since="7.0.0",
         complexity="O(N) for N channels",
         summary="List the shard channels of this server that somebody listens to.")  # fmt: skip
def pubsub_shardchannels(ctx: Session, argv: list[bytes]) -> Reply:
    return _names(ctx, SHARD_CHANNEL, argv)


def _names(ctx: Session, kind: int, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise wrong_words(argv)
    return list[Reply](ctx.state.pubsub.names(kind, argv[2] if len(argv) == 3 else None))


@command("PUBSUB NUMSUB", "[channel [channel ...]]", group=PUBSUB_GROUP, flags=ASKING_WHO, since="2.8.0",
         complexity="O(N) for N channels",
         summary="Count who listens to each of some channels.")  # fmt: skip
def pubsub_numsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _counts(ctx, CHANNEL, argv)


@command("PUBSUB SHARDNUMSUB", "[shardchannel [shardchannel ...]]", group=PUBSUB_GROUP, flags=ASKING_WHO,
         since="7.0.0", complexity="O(N) for N channels",
         summary="Count who listens to each of some shard channels.")  # fmt: skip
def pubsub_shardnumsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _counts(ctx, SHARD_CHANNEL, argv)


def _counts(ctx: Session, kind: int, argv: list[bytes]) -> Reply:
    reply: list[Reply] = []
    for name in argv[2:]:
        reply.append(name)
        reply.append(ctx.state.pubsub.listener_count(kind, name))
    return reply


@command("PUBSUB NUMPAT", group=PUBSUB_GROUP, flags=ASKING_WHO, since="2.8.0", complexity="O(1)",
         summary="Count the patterns that somebody listens to.")  # fmt: skip
def pubsub_numpat(ctx: Session, argv: list[bytes]) -> Reply:
    return len(ctx.state.pubsub.listeners[PATTERN])
