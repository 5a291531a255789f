"""The detector ``first-use``: a principal uses a name that belongs to others.

A name is somebody else's if one or a few others have used it for a while. New
names, shared names, and principals that often begin to use names are not odd:
that is how releases look.
"""

from __future__ import annotations

from collections.abc import Callable

from strongroom.contracts import Access, Decision, Outcome, Repeats, Verdict
from strongroom_anomaly.counting import Age, Changes, Table, Told, Window
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import (
    ALLOWED,
    DAY,
    HOUR,
    Finding,
    in_words,
    key_of,
    number_in_words,
    object_of,
    seconds_of,
    whom,
)
from strongroom_anomaly.known_names import KnownNames, Names
from strongroom_anomaly.settings import FirstUseSettings
from strongroom_anomaly.stored import Row, key, number, pack_keys, unpack_keys


class User:
    """What is known of a principal."""

    __slots__ = ("age", "changes", "lately", "names", "told")

    def __init__(self, settings: FirstUseSettings) -> None:
        self.names: Names = Names()
        self.age = Age()
        self.changes = Changes(settings.half_life)
        self.lately = Window(settings.window)
        self.told = Told()


class Use:
    """What is known of a name."""

    __slots__ = ("since", "users")

    def __init__(self) -> None:
        self.since: float | None = None
        self.users: tuple[int, ...] = ()

    def add(self, user: int, now: float, most: int) -> None:
        """Note who uses it; the first few are enough."""
        self.since = now if self.since is None else min(self.since, now)
        if user not in self.users and len(self.users) < most:
            self.users = (*self.users, user)


class FirstUseDetector(StatefulDetector):
    """Knows who uses which names.

    Args:
        settings: What is odd, and for whom.
    """

    def __init__(self, settings: FirstUseSettings) -> None:
        self._settings = settings
        self._most_users = settings.shared_by + 1
        self._started: float | None = None
        super().__init__("first-use")

    def judge(self, access: Access) -> Verdict:
        """Say whether this is a first use that is odd."""
        if not access.allowed or access.action == "list":
            return ALLOWED
        now, who, name = seconds_of(access), whom(access), object_of(access)
        with self._lock:
            self._started = now if self._started is None else min(self._started, now)
            user_key = key_of(who)
            user, use = self._users.use(user_key), self._uses.use(name)
            age = user.age.at(now)
            if self._known.knows(user, name):
                # Again, as the name may have been forgotten, or have been used first while the clock was ahead.
                use.add(user_key, now, self._most_users)
                return ALLOWED
            odd = access.action != "create" and self._is_odd(user, use, now)
            if odd and age < self._settings.learn_for:
                odd = False
                if age >= DAY:
                    user.changes.add(now)  # those of the first day are how it was set up
            verdict = ALLOWED
            if odd:
                user.lately.add(now)
                verdict = self._odd(user, use, who, access.name, now)
                if verdict.decision is Decision.BLOCK:
                    return verdict  # it is learned if it is let through all the same: see observe
                user.changes.add(now)
            self._known.add(user, name, self._users)
            use.add(user_key, now, self._most_users)
            return verdict

    def repeats(self, access: Access) -> Repeats:
        """Ignore repetitions: the name is known. It is refreshed hourly."""
        return Repeats(until=seconds_of(access) + HOUR)

    def observe(self, outcome: Outcome) -> Verdict:
        """Learn a first use that was let through, though it should have been stopped."""
        access = outcome.access
        if not self._settings.blocks or outcome.result != "ok" or not access.allowed or access.action == "list":
            return ALLOWED
        who, name, now = key_of(whom(access)), object_of(access), seconds_of(access)
        with self._lock:
            user = self._users.use(who)
            if name not in user.names:
                user.changes.add(now)
                self._known.add(user, name, self._users)
                self._uses.use(name).add(who, now, self._most_users)
        return ALLOWED

    def _is_odd(self, user: User, use: Use, now: float) -> bool:
        settings = self._settings
        if self._started is not None and now - self._started < settings.after_start:
            return False
        # This principal is not among them, unless it had forgotten the name.
        if use.since is None:
            theirs = settings.unknown_names
        else:
            theirs = len(use.users) <= settings.shared_by and now - use.since >= settings.established
        if not theirs:
            return False
        is_often = user.changes.at(now) >= settings.changes
        if is_often:
            user.changes.add(now)
        return not is_often

    def _odd(self, user: User, use: Use, who: str, name: str, now: float) -> Verdict:
        settings, window = self._settings, in_words(self._settings.window)
        count = user.lately.at(now)
        is_news = user.told.is_news(count, settings.names)
        if count < settings.names or not (is_news or settings.blocks):
            return ALLOWED  # it is reported again when it has doubled, but each is stopped
        last = (
            f"used by {len(use.users)} others for {number_in_words((now - use.since) / HOUR)} hours"
            if use.since is not None
            else "used by nobody before"
        )
        finding = Finding(
            reason=f"{who} used {count} names within {window} for the first time that belong to others",
            evidence=(
                f"the last of them, {name}, is {last}",
                f"{who} has used {len(user.names)} names in {number_in_words(user.age.total / HOUR)} hours, "
                f"with {number_in_words(user.changes.at(now))} recent days of such first uses",
                f"the limits are names = {settings.names} in window = {window}, shared_by = {settings.shared_by}, "
                f"established = {in_words(settings.established)} "
                f"and changes = {settings.changes:g}",
            ),
            subject=who,
        )
        return finding.verdict(block=settings.blocks)

    def _forget(self) -> None:
        settings = self._settings
        self._known: KnownNames[User] = KnownNames(settings.max_names)
        self._users: Table[User] = Table(settings.max_tracked, lambda: User(settings), self._known.dropped)
        self._uses: Table[Use] = Table(max(settings.max_names // 4, 1), Use)

    def _rows(self) -> dict[str, list[Row]]:
        return {
            "principals": [
                [who, pack_keys(user.names), user.age.dump(), user.changes.dump()] for who, user in self._users.items()
            ],
            "names": [[name, round(use.since or 0.0), *use.users] for name, use in self._uses.items()],
        }

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {"principals": self._load_user, "names": self._load_use}

    def _load_use(self, row: Row) -> None:
        name, since, *users = row
        use = self._uses.use(key(name))
        use.since, use.users = number(since), tuple(key(user) for user in users[: self._most_users])

    def _load_user(self, row: Row) -> None:
        who, names, age, changes = row
        user = self._users.use(key(who))
        for name in unpack_keys(names):
            if name not in user.names:
                self._known.add(user, name, self._users)
        user.age.load(age)
        user.changes.load(changes)
