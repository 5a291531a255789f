"""Why the service refuses a change, as far as its description of the secret tells."""

from __future__ import annotations

from strongroom.errors import StrongroomError, UnsupportedOperationError
from strongroom.model import SecretName
from strongroom_aws.outcomes import refused
from strongroom_aws.replies import Refusal
from strongroom_aws.seen import Seen


def explained(refusal: Refusal, seen: Seen | Refusal, name: SecretName, *, what: str) -> StrongroomError:
    """Return the error for a change that the service has refused.

    Args:
        refusal: What it has said.
        seen: How it has described the secret after that, or why not.
        name: The secret's name.
        what: What was tried, such as ``writing app/key``.
    """
    if isinstance(seen, Seen):
        owner = seen.data.get("OwningService")
        if owner:
            return UnsupportedOperationError(
                f"AWS refused {what}: it belongs to the service {owner}", name=name, hint="change it there"
            )
        # A primary secret that has replicas names its own region.
        primary = seen.data.get("PrimaryRegion") or refusal.region
        if primary != refusal.region:
            return UnsupportedOperationError(
                f"AWS refused {what}: in {refusal.region} it is a replica",
                name=name,
                hint=f"set `region` to {primary}, where it is written",
            )
    return refused(refusal, what, name=name)


def replicated(name: SecretName, seen: Seen) -> UnsupportedOperationError | None:
    """Return the error for the removal of a secret that has replicas; ``None`` if it has none."""
    regions = regions_of(seen)
    if not regions:
        return None
    return UnsupportedOperationError(
        f"AWS removes no secret that has replicas, and {name} has some in {', '.join(regions)}",
        name=name,
        hint="end its replication first, with `aws secretsmanager remove-regions-from-replication`, or name all these"
        " regions under `replicate`",
    )


def regions_of(seen: Seen) -> list[str]:
    """Return the regions in which a secret has replicas, or is to have some."""
    return [str(replica.get("Region")) for replica in seen.data.get("ReplicationStatus") or ()]
