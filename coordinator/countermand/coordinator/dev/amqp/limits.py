"""Every bound of the development broker, each with its reason. What lies beyond one is refused, loudly."""

import msgspec

FRAME_BYTES_MIN = 4_096  # AMQP 0-9-1, section 4.2.3: every peer must take frames of this size.
UNTUNED_FRAME_BYTES_MAX = 8_192  # What RabbitMQ 4.1 takes from a client that hasn't said yet how it is called.

# A table inside a method holds a handful of arguments. Nobody nests them; whoever does is fuzzing.
ARGUMENT_DEPTH_MAX = 16
ARGUMENT_ENTRIES_MAX = 512

# A message's headers are walked with a stack of our own and never decoded, so depth costs nothing here. RabbitMQ has
# no bound at all; clients die of some 1,000 levels, and they should be able to meet that in development.
HEADER_DEPTH_MAX = 2_000

# What a message takes besides its header and its body, measured; so many small ones count as what they are.
MESSAGE_OVERHEAD_BYTES = 700

# x-death grows with every (queue, reason) that a message passes; RabbitMQ has no bound, and a header must fit a frame.
DEATHS_MAX = 32


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds that a test, or an unusual machine, may want to set otherwise."""

    connections_max: int = 256  # Three processes need about ten; this many are a leak in a client.
    channels_max: int = 2_047  # RabbitMQ's default, so that clients negotiate the same.
    consumers_per_channel_max: int = 1_000  # A consumer costs a kilobyte, and a channel with so many is lost in a loop.
    frame_bytes_max: int = 131_072  # RabbitMQ's default, so that frames are cut alike.
    header_bytes_max: int = 98_304  # With what dead-lettering adds it must still fit one frame, for it is never split.
    message_bytes_max: int = 16 * 1024 * 1024  # RabbitMQ 4's default.
    queues_max: int = 10_000  # Some hundred per saga definition would be a lot; each costs some kilobytes.
    exchanges_max: int = 1_000  # The topology has four.
    bindings_max: int = 20_000  # Two per queue.
    queue_bytes_max: int = 256 * 1024 * 1024  # Half of everything: one forgotten consumer must not stop the others.
    bytes_max: int = 512 * 1024 * 1024  # Of all messages: a developer's laptop has other work to do.
    # Waiting to be read by one client. A delivery waits in its queue while so much is under way already.
    output_bytes_max: int = 1024 * 1024
    handshake_timeout_s: float = 10.0  # As RabbitMQ: a client that hasn't authenticated by then is none.
    heartbeat_s: int = 60  # RabbitMQ's default; the client chooses.
    linger_s: float = 5.0  # How long a peer may take to close its end after the last word.
    stop_timeout_s: float = 2.0  # How long the polite close of everybody may take.
    # Compacting rewrites what is alive; below this size it isn't worth the pause.
    journal_compact_bytes_min: int = 16 * 1024 * 1024
    journal_garbage_factor: int = 4  # Compact when the file is so many times larger than what is alive.
