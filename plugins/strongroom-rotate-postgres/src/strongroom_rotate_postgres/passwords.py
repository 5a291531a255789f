"""New passwords."""

from __future__ import annotations

from strongroom.model import SecretValue


def new_password(length: int, alphabet: str) -> SecretValue:
    """Return a random password that has a character of each kind that the alphabet has.

    Each of those that do is as likely as any other.

    Args:
        length: How many characters it has.
        alphabet: What it is made of.
    """
    import secrets  # settings need the kinds only

    kinds = {kind_of(each) for each in alphabet}
    while True:
        made = "".join(secrets.choice(alphabet) for _ in range(length))
        if {kind_of(each) for each in made} == kinds:
            return SecretValue(made)


def kind_of(character: str) -> str:
    """Return of which kind a character is: digit, small, capital, other."""
    if character.isdigit():
        return "digit"
    if character.isalpha():
        return "small" if character.islower() else "capital"
    return "other"
