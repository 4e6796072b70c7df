"""Keys kept in the database: put there sealed, never read back but by the loader."""

from providers.models import CredentialSource, Provider
from providers.secrets import KeyRing
from providers.types import Secret


def keep(name: str, key: Secret, ring: KeyRing) -> None:
    """Seals the key into the provider's row, which says from then on that its key is stored.

    Raises `Provider.DoesNotExist`.
    """
    row = Provider.objects.get(name=name)
    row.credential_source, row.credential_name = CredentialSource.STORED, ""
    row.stored_credential = ring.seal(key.reveal(), bound_to=str(row.uid))
    row.save()
