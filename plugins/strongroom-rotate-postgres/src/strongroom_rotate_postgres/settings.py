"""What a configuration may say under ``[rotation."..."]`` with the rotators of this distribution."""

from __future__ import annotations

from collections import Counter
from typing import Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds
from strongroom_rotate_postgres.passwords import kind_of

LEAST_LENGTH: Final = 8
MOST_LENGTH: Final = 256
LEAST_BITS: Final = 64
LONGEST_TIME: Final = 86400.0
"""Seconds. The server counts milliseconds in 32 bits."""
LONGEST_NAME: Final = 63
"""Bytes. The server cuts off what is longer, and so would change another user."""
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class PostgresSettings(Record):
    """Settings of the rotator ``postgres-single``, which are those of ``postgres`` as well."""

    users: tuple[str, ...]
    """The users whose passwords may be changed; any other in the secret is refused."""
    host: str | None = None
    """The server's name or address, or the folder of its socket."""
    port: int | None = None
    """The server's port; 5432 unless given."""
    dbname: str = "postgres"
    """The database that the administrator connects to. All hosts that rotate must name the same one."""
    login_dbname: str | None = None
    """The database in which the candidate is tried; the administrator's unless given."""
    sslmode: str | None = None
    """libpq's: ``verify-full`` is what a server across a network needs."""
    sslrootcert: FilePath | None = None
    """The certificates of the authorities to trust, in PEM."""
    sslcert: FilePath | None = None
    """The administrator's client certificate, in PEM."""
    sslkey: FilePath | None = None
    """Its key."""
    dsn: str | None = None
    """A connection string or URL of libpq's instead of all these, with neither user nor password."""
    admin_user: str | None = None
    """Who changes the passwords."""
    admin_password: KeySource | None = None
    """That user's password, read at each use; not needed if the server knows the user by something else."""
    admin_secret: str | None = None
    """Instead of both: the name of a secret that is a JSON object with ``username`` and ``password``."""
    role: str | None = None
    """A role that each user must be a member of, so that the next one has the rights of the one before."""
    length: int = 32
    """How many characters a password has."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    """The characters it is made of. It has one of each kind that is here: small, capital, digit, other."""
    encrypt: bool = True
    """Whether only a SCRAM verifier of the password is sent to the server. Without that the password itself is, for a
    server whose rules for passwords have to see it; it may then write it to its log."""
    connect_timeout: Seconds = 5.0
    """How long connecting may take; libpq makes 2 s of anything shorter."""
    statement_timeout: Seconds = 10.0
    """How long one statement may take, waiting for other rotations included."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return self._about_users() + self._about_server() + self._about_passwords()

    def _about_users(self) -> list[str]:
        found = [] if self.users else ["users names nobody"]
        if len(set(self.users)) != len(self.users):
            found.append("users names somebody twice")
        if any(not 0 < len(user.encode(errors="replace")) <= LONGEST_NAME or not _is_name(user) for user in self.users):
            found.append(f"users holds a name that is not of 1 to {LONGEST_NAME} bytes")
        if (self.admin_user is None) == (self.admin_secret is None):
            found.append("one of admin_user and admin_secret is needed")
        if self.admin_password is not None and self.admin_user is None:
            found.append("admin_password is of no use without admin_user")
        if self.admin_user in self.users:
            found.append("admin_user is among the users, whose passwords change")
        return found

    def _about_server(self) -> list[str]:
        found = []
        single = (self.host, self.port, self.sslmode, self.sslrootcert, self.sslcert, self.sslkey)
        if self.dsn is not None and any(one is not None for one in single):
            found.append("dsn stands for host, port and all that begins with ssl: give it or them")
        if self.dsn is None and not self.host:
            found.append("host or dsn is needed")
        if self.port is not None and not 0 < self.port < 65536:
            found.append("port is not one of 1 to 65535")
        if self.sslmode is not None and self.sslmode not in SSL_MODES:
            found.append(f"sslmode is none of {', '.join(SSL_MODES)}")
        times = {"connect_timeout": self.connect_timeout, "statement_timeout": self.statement_timeout}
        found += [f"{name} is not above 0" for name, seconds in times.items() if not seconds > 0]
        return found + [f"{name} is longer than a day" for name, seconds in times.items() if seconds > LONGEST_TIME]

    def _about_passwords(self) -> list[str]:
        found = []
        fits = LEAST_LENGTH <= self.length <= MOST_LENGTH
        if not fits:
            found.append(f"length is not one of {LEAST_LENGTH} to {MOST_LENGTH}")
        if not all("!" <= each <= "~" for each in self.alphabet) or len(set(self.alphabet)) != len(self.alphabet):
            found.append("alphabet has something twice, or what is no visible character of ASCII")
        elif fits and _bits(self.length, self.alphabet) < LEAST_BITS:
            found.append(f"length and alphabet make passwords of less than {LEAST_BITS} bits")
        return found

    def __repr__(self) -> str:
        # Whoever puts a password into the connection string is told so; until then it must not show.
        return f"{type(self).__name__}(users={self.users!r}, host={self.host!r}, port={self.port!r})"


def _is_name(user: str) -> bool:
    # UTF-8 cannot write half of a surrogate pair.
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in user)


def _bits(length: int, alphabet: str) -> float:
    """Return how many bits of entropy a password has at least: one character of each kind is of that kind only."""
    from math import log2

    kinds = Counter(map(kind_of, alphabet))
    return sum(map(log2, kinds.values())) + (length - len(kinds)) * log2(max(1, len(alphabet)))


class AlternatingSettings(PostgresSettings):
    """Settings of the rotator ``postgres``."""

    retire_former: bool = False
    """Whether the former user's password is taken away once the overlap is over. Otherwise it goes on working until
    the user's turn comes."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = super().problems()
        if len(self.users) == 1:
            found.append("users names one only, for whom there is the rotator postgres-single")
        return found
