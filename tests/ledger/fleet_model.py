"""A model of the protocol by which several forwarders share one DynamoDB table: one execution, two to four members.

A state is the content of the table and the knowledge of each member. A step is one write that takes effect, or one
thing that a member learns. `explore` visits every state that any order of steps reaches, and checks `is_lost` in each.

The table (`forwarder/ledger/dynamodb/`) has three kinds of items:

- the execution item: absent, pending or settled, with its owner, which is a journal entry `member/number`;
- a journal per member: numbered entries that never change; an entry that was read from another one names it;
- an item per member: the mark (all of its journal below is done), `suspected` (an heir is set), and `gone`.

| step | request |
|---|---|
| journal find | append what a poll found to the journal, if the number is free; one append at a time, without gaps |
| record | put the execution item if it is absent; the owner is the entry |
| heartbeat | raise the mark by one if the member is not suspected; the entry passed is settled or another member's |
| suspect | set the heir in a member's item; anybody may suspect any member at any time, rightly or not |
| seal | put an item at the journal's next number, so that the member can append nothing more |
| journal adopted | read a suspected member's journal from its mark, append an entry of it to the heir's own journal |
| adopt | make the heir's entry the owner if the item is absent, or pending with an owner that the entry lists |
| settle | the owner has delivered: pending becomes settled, if the owner is the entry |
| see other | read the item after a failed condition: it is settled, or has an owner that the entry does not list |
| gone | the heir has an outcome for each entry from the mark on, and stores that nothing is left to adopt |
| journal retry | append an entry that names the settled owner (`retry`, `replay`) |
| retry | settled becomes pending with the entry as owner, if the item is settled with the named owner |
| journal renewed | append an entry for an old one of the member itself, before it expires; then adopt |

Some events are no steps, because the steps contain all their consequences:

- A late write: an entry's write may take effect at any time after the entry is in the journal, whatever happened to
  the writer since. A lost reply is a write whose outcome is learned later.
- A pause is a member that takes no step for a while. A crash, or the stop of a suspected member that finds out, is a
  member that takes no further step; its late writes still arrive. `is_lost` never counts on a running member: the
  table alone must contain what an heir needs. A member that joins is one that has taken no step yet.
- The heir's name: every member may be heir of every suspected one, several at a time, since heirs suspect each other.
  The beat counter only makes take-overs rarer. Expiry of items and missing buses are not modelled.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

NAMES: Final = "zmhg"
MAX_STATES: Final = 500_000  # without the seal, a model that finds no loss has no end
WRITES: Final = {"find": "record", "retry": "retry", "adopted": "adopt", "renewed": "adopt"}
"""The write to the execution item, by the kind of the journal entry."""
UNKNOWN: Final = 0  # the write is not sent, is in flight, or its reply is lost
WRITTEN: Final = 1  # the write took effect; the entry may have lost the execution since
DONE: Final = 2  # the member has read that the execution is settled or has another owner

Token = tuple[int, int]  # an entry: member and number
Step = tuple[str, str]  # a name in the table above, and the entry or member


class Entry(NamedTuple):
    """A journal entry for the execution, with its member's knowledge of the outcome."""

    kind: str  # a key of WRITES
    source: Token | None  # the entry that it was read from, or that is retried; None for a find
    owner: Token | None = None  # the owner when it was journaled, if it is an earlier one; those before are not listed
    outcome: int = UNKNOWN


class Member(NamedTuple):
    """A member's journal and its item. `sealed` is the item at the end of the journal."""

    journal: tuple[Entry, ...] = ()
    mark: int = 0
    suspected: bool = False
    sealed: bool = False
    gone: bool = False


class Execution(NamedTuple):
    owner: Token
    settled: bool = False


class State(NamedTuple):
    execution: Execution | None
    members: tuple[Member, ...]


ReachedBy = dict[State, tuple[State, Step] | None]


class Rules(NamedTuple):
    """The rules of the protocol that a test can switch off."""

    seal: bool = True  # a journal is sealed before it is read
    earlier_owners: bool = True  # an adopted entry lists all earlier owners, not only the one that it was read from
    short_lists: bool = False  # except those before the owner at the time; this has many more states
    mark_waits: bool = True  # the mark passes only entries that are settled or another's
    adopt_retry: bool = True  # the heir of a retry may adopt from the settled state that the retry may change


class Setup(NamedTuple):
    members: int
    finders: int = 1  # members whose poll lists the execution
    retries: int = 0
    renewals: int = 0


def successors(state: State, rules: Rules, setup: Setup) -> Iterator[tuple[Step, State]]:
    """Yield each step that is possible in a state, with the state after it."""
    if knowledge := next(_knowledge(state, rules), None):
        # Such a step prevents no other and never helps against a loss: the search needs only the states after it.
        yield knowledge
        return
    for index, member in enumerate(state.members):
        if not member.sealed:
            for entry in _appends(state, index, rules, setup):
                after = _with_member(state, index, member._replace(journal=(*member.journal, entry)))
                source = f" of {_text(entry.source)}" if entry.source else ""
                yield (f"journal {entry.kind}", _text((index, len(member.journal))) + source), after
        if not member.suspected:
            yield ("suspect", NAMES[index]), _with_member(state, index, member._replace(suspected=True))
            if any(entry.outcome == DONE or not rules.mark_waits for entry in member.journal[member.mark :][:1]):
                passed = member._replace(mark=member.mark + 1)
                yield ("heartbeat", f"passes {_text((index, member.mark))}"), _with_member(state, index, passed)
        elif rules.seal and not member.sealed:
            yield ("seal", NAMES[index]), _with_member(state, index, member._replace(sealed=True))
        for number in range(len(member.journal)):
            yield from _writes(state, (index, number), rules, setup)


def is_lost(state: State, rules: Rules) -> bool:
    """Return whether the execution is pending, and no heir, present or future, would adopt it.

    An heir reads the journals of members that are not gone, from their marks. The owner has to be in an entry there.
    """
    if state.execution is None or state.execution.settled:
        return False
    return not any(
        state.execution.owner == (index, number) or state.execution in replaceable(state, (index, number), rules)
        for index, member in enumerate(state.members)
        for number in range(member.mark, len(member.journal))
        if not member.gone
    )


def replaceable(state: State, token: Token, rules: Rules) -> list[Execution | None]:
    """Return the contents of the execution item that an entry's write may replace. An absent item is None."""
    entry = state.members[token[0]].journal[token[1]]
    if entry.source is None:
        return [None]
    if entry.kind == "retry":
        return [Execution(entry.source, settled=True)]
    if not rules.earlier_owners:
        return [None, Execution(entry.source)]
    earlier = replaceable(state, entry.source, rules)
    if not rules.adopt_retry:
        earlier = [execution for execution in earlier if execution is None or not execution.settled]
    every = [Execution(entry.source), *earlier]
    return every[: every.index(Execution(entry.owner)) + 1] if entry.owner else every


def _earlier_owner(state: State, token: Token, rules: Rules) -> Token | None:
    """Return the owner of a pending execution if it is an entry, or one of the earlier owners that the entry lists."""
    execution = state.execution
    if execution is None or execution.settled or not rules.short_lists:
        return None
    return execution.owner if execution in (Execution(token), *replaceable(state, token, rules)) else None


class Exploration(NamedTuple):
    """The result of a search: the number of states, the names of the steps taken, and the shortest way to a loss."""

    states: int
    step_names: frozenset[str]
    loss: list[str] | None


def explore(rules: Rules, setup: Setup) -> Exploration:
    """Search all reachable states, breadth first, and stop at the first loss."""
    start = State(None, (Member(),) * setup.members)
    reached_by: ReachedBy = {start: None}
    step_names: set[str] = set()
    queue = deque([start])
    while queue:
        state = queue.popleft()
        assert len(reached_by) <= MAX_STATES, "the search is not whole"
        if is_lost(state, rules):
            return Exploration(len(reached_by), frozenset(step_names), _way(reached_by, state))
        for step, after in successors(state, rules, setup):
            step_names.add(step[0])
            if after not in reached_by:
                reached_by[after] = (state, step)
                queue.append(after)
    return Exploration(len(reached_by), frozenset(step_names), None)


def _knowledge(state: State, rules: Rules) -> Iterator[tuple[Step, State]]:
    """Yield the steps "see other" and "gone"."""
    for index, member in enumerate(state.members):
        for number, entry in enumerate(member.journal):
            token = (index, number)
            may_change = state.execution in (None, Execution(token), *replaceable(state, token, rules))
            if entry.outcome != DONE and not may_change:
                yield ("see other", _text(token)), _with_outcome(state, token, DONE)
        if member.suspected and not member.gone and (member.sealed or not rules.seal):
            for heir in range(len(state.members)):
                if _has_taken_over(state, heir, index):
                    gone = _with_member(state, index, member._replace(gone=True))
                    yield ("gone", f"{NAMES[index]}, by {NAMES[heir]}"), gone


def _appends(state: State, index: int, rules: Rules, setup: Setup) -> Iterator[Entry]:
    """Yield the entries that a member can append to its journal."""
    journal = state.members[index].journal
    kinds = [entry.kind for member in state.members for entry in member.journal]
    if index < setup.finders and not any(entry.kind == "find" for entry in journal):
        yield Entry("find", None)
    if state.execution and state.execution.settled and kinds.count("retry") < setup.retries:
        yield Entry("retry", state.execution.owner)
    taken = {entry.source for entry in journal if entry.kind != "retry"}
    for owner, member in enumerate(state.members):
        kind = "renewed" if owner == index else "adopted"
        readable = member.suspected and (member.sealed or not rules.seal)
        if readable if kind == "adopted" else kinds.count("renewed") < setup.renewals:
            tokens = {(owner, number) for number in range(member.mark, len(member.journal))} - taken
            yield from (Entry(kind, token, _earlier_owner(state, token, rules)) for token in sorted(tokens))


def _writes(state: State, token: Token, rules: Rules, setup: Setup) -> Iterator[tuple[Step, State]]:
    """Yield the writes of an entry to the execution item that can take effect now."""
    entry = state.members[token[0]].journal[token[1]]
    if state.execution in replaceable(state, token, rules):
        after = _with_outcome(state, token, max(entry.outcome, WRITTEN))
        yield (WRITES[entry.kind], _text(token)), after._replace(execution=Execution(token))
    # Without retries, a settled execution stays settled, and nothing is left to search.
    if state.execution == Execution(token) and setup.retries:
        yield ("settle", _text(token)), state._replace(execution=Execution(token, settled=True))


def _has_taken_over(state: State, heir: int, index: int) -> bool:
    """Return whether the heir has an outcome for each entry from the member's mark on."""
    member = state.members[index]
    outcomes = {entry.source for entry in state.members[heir].journal if entry.outcome and entry.kind == "adopted"}
    return heir != index and all((index, number) in outcomes for number in range(member.mark, len(member.journal)))


def _with_member(state: State, index: int, member: Member) -> State:
    return state._replace(members=(*state.members[:index], member, *state.members[index + 1 :]))


def _with_outcome(state: State, token: Token, outcome: int) -> State:
    member = state.members[token[0]]
    journal = list(member.journal)
    journal[token[1]] = journal[token[1]]._replace(outcome=outcome)
    return _with_member(state, token[0], member._replace(journal=tuple(journal)))


def _text(token: Token) -> str:
    return f"{NAMES[token[0]]}/{token[1]}"


def _way(reached_by: ReachedBy, state: State) -> list[str]:
    before = reached_by[state]
    return [*_way(reached_by, before[0]), " ".join(before[1])] if before else []
