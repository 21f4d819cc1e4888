"""The keys of the items, and the table that holds them.

| p | s | item |
|---|---|---|
| `x#DIGEST` | `x` | an execution: its state, its owner and its transitions |
| `j#MEMBER` | number | an item of a member's journal |
| `m` | member | a member: its heartbeat, mark and counters |
| `m` | `!ledger` | the ledger: its switch, floor and format, and the counters of members whose items are deleted |
| `f#00` … `f#63` | digest | a feed and its checkpoint |
| `d#0` … `d#f` | digest and place | a dead letter |
| `t` | process | the counts per minute of a process, for display |

A place is `MEMBER/NUMBER/INDEX`: an entry of a journal. Times are microseconds since 1970. The names of attributes are
short, because DynamoDB bills the bytes of an item.

An execution has `st` (state), `o` (place of its owner, which a take-over changes), `pl` (place of its detail), `f`
(feed), `tm` (stop), `ra` (time of recording), `lg` (log of transitions), `n` and `h` (number and history of attempts),
`un` (unclassified attempts), `sn` (send number) and `du` (due time); once settled, `sa` (time of the settlement), `ev`
(event id, or code of the dead letter), `rs` (reason), `bs` (bus), `sq` (number of the settlement, counted by the
process of the owner) and `dl` (key of the dead letter).

A member has `be` (number of heartbeats), `hb` (time of the last one), `mk` (mark), `nx` (next number of its journal),
`bl` (counters below the mark), `tt` (counters), `op` (time of the oldest pending entry), `rp` (pending replays), `sv`
(status for display), `fe` (feeds), `fg` (feed group), `lp` (time of the last poll), `ru` and `wu` (consumed read and
write units), `iv` (heartbeat interval in milliseconds) and `vs` (the last settlement before each bus was verified).
Flags are `dr` (it drains), `cr` (it cannot read the logs API), `lf` (it has left), `cm` (it is a command) and `gone`
(it was taken over); `heir` is the member that takes it over.

The ledger has `ledger_format`, `en` (switch), `switch_token`, `skipped_at` (time of the last skip), `id_floor` (what
stopped until then is not recorded), `created_at` and `id_retentions` (see `id_floor.py`), `feeds_version` (number of
changes of the list of feeds), `da0` … `da63` (time of the last discovery of each shard of the users) or `discovered_at`
(of all shards, from a copied ledger), `retention_gap`, `verified_buses`, `copying` or `copied` (marker of a copy), and
`ended_totals`, `ended_names` and `ended_version` (of members whose items are deleted).

A feed has `f` (feed), `ck` (checkpoint), `pr` (last poll), `v` (version of both) and `wa` (it is watched).
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from forwarder.ledger.dynamodb.table import RESERVED_PARTITION, Key
from forwarder.model import Feed

FORMAT = 1

KEEP_FORMAT = "ledger_format = if_not_exists(ledger_format, :ledger_format)"
"""The change that saves the format of a new ledger. A process of an older version must not write its own back."""

FEED_PARTITIONS = 64
DEAD_PARTITIONS = 16

MEMBERS = RESERVED_PARTITION
TRAFFIC = "t"
LEDGER = Key(MEMBERS, "!ledger")

NUMBER_DIGITS = 12

EXPIRY_ATTRIBUTE = "expires"
"""The attribute of items that DynamoDB may delete, in seconds since 1970, for the table's TTL."""


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of a journal: its member, the number of its item, and its position in the item."""

    member: str
    number: int
    index: int

    def __str__(self) -> str:
        return f"{self.member}/{self.number}/{self.index}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the place that a text names. Raise ValueError if the text is no place."""
        member, number, index = text.split("/")
        return cls(member, int(number), int(index))


def digest(execution_id: str) -> str:
    """Return 112 bits of the digest of an id, as hexadecimal digits. SQLite's store keeps the same bits."""
    return hashlib.blake2b(execution_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()[:28]


def execution_key(digest: str) -> Key:
    return Key(f"x#{digest}", "x")


def member_key(member: str) -> Key:
    return Key(MEMBERS, member)


def journal(member: str) -> str:
    """Return the partition of a member's journal."""
    return f"j#{member}"


def number_text(number: int) -> str:
    return f"{number:0{NUMBER_DIGITS}d}"


def feed_text(feed: Feed) -> str:
    """Return the text that stands for a feed in an item."""
    return f"{len(feed.workflow_id)}:{feed.workflow_id}{feed.user_id or ''}"


def feed_of(text: str) -> Feed:
    """Return the feed of a text."""
    length, _, rest = text.partition(":")
    workflow, user = rest[: int(length)], rest[int(length) :]
    return Feed(workflow, user or None)


def feed_key(feed: Feed) -> Key:
    """Return the key of a feed's item. It holds a digest, because ids may be longer than a sort key."""
    name = hashlib.blake2b(feed_text(feed).encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return Key(f"f#{int(name[:2], 16) % FEED_PARTITIONS:02d}", name)


def feed_partitions() -> list[str]:
    return [f"f#{number:02d}" for number in range(FEED_PARTITIONS)]


def dead_letter_key(digest: str, owner: Place) -> Key:
    """Return the key of a dead letter's item. A settlement that is repeated writes the same item again."""
    return Key(f"d#{digest[0]}", f"{digest}#{owner}")


def dead_partitions() -> list[str]:
    return [f"d#{number:x}" for number in range(DEAD_PARTITIONS)]


def table_definition(name: str) -> dict[str, Any]:
    """Return the arguments of CreateTable for a ledger."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in "ps"],
        "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
    }
