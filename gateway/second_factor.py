"""The second factor of staff: codes by time (RFC 6238), and backup codes for a lost device.

The secret is encrypted like a provider's key and bound to its user. Backup codes have 80 random bits, so
their hash needs no salt or stretching. Each code is taken once: the newest time step used is remembered, and
a backup code is struck out. Who may enter is decided here, for the admin, the guides and the metrics alike.
"""

import hashlib
import hmac
import secrets
import time
from base64 import b32decode, b32encode
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from gateway.models import StaffSecondFactor
from providers.secrets import KeyRing, SealError
from telemetry.logs import log

OFF, OPTIONAL, REQUIRED = "off", "optional", "required"
CODE, SET_UP = "code", "set-up"
"""What a session still owes: a code, or setting up a factor."""
SESSION = "second_factor"
ISSUER = "LLM Caller"
SECRET_BYTES = 20
DIGITS, STEP_S = 6, 30
BACKUP_CODES, BACKUP_BYTES, BACKUP_CHARS = 10, 10, 16


def is_offered() -> bool:
    return bool(settings.STAFF_TOTP != OFF)


def may_enter(request: HttpRequest) -> bool:
    """Active staff who owe nothing any more. Every page for staff asks this, and nothing else."""
    return bool(request.user.is_active and request.user.is_staff and not owed(request))


def owed(request: HttpRequest) -> str:
    """`CODE`, `SET_UP` or "". One query a request."""
    if not is_offered():
        return ""
    if not hasattr(request, "_owed"):
        request._owed = _owed(request)  # type: ignore[attr-defined]
    return str(request._owed)  # type: ignore[attr-defined]


def _owed(request: HttpRequest) -> str:
    factor = confirmed(request.user)
    if factor is None:
        return SET_UP if settings.STAFF_TOTP == REQUIRED else ""
    return "" if request.session.get(SESSION) == factor.pk else CODE


def let_in(request: HttpRequest) -> None:
    """The session has proved the factor. It names this one: after a reset it has to prove the next."""
    request.session.cycle_key()
    factor = confirmed(request.user)
    request.session[SESSION] = factor.pk if factor else None
    vars(request).pop("_owed", None)


def confirmed(user: Any) -> StaffSecondFactor | None:
    return StaffSecondFactor.objects.filter(user_id=user.pk, confirmed_at__isnull=False).first()


def pending(user: Any) -> StaffSecondFactor | None:
    return StaffSecondFactor.objects.filter(user_id=user.pk, confirmed_at__isnull=True).first()


def begin(user: Any) -> None:
    """A new secret that is not in force yet. Changes nothing for who has a factor."""
    with transaction.atomic():
        if confirmed(user):
            return
        StaffSecondFactor.objects.filter(user_id=user.pk).delete()
        text = b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
        sealed = _keys().seal(text, bound_to=_bound(user.pk))
        StaffSecondFactor.objects.create(user_id=user.pk, sealed_secret=sealed)


def secret_of(factor: StaffSecondFactor) -> str:
    """In base32, as apps take it. Raises `SealError`."""
    return _keys().open(bytes(factor.sealed_secret), bound_to=_bound(factor.user_id)).reveal()


def address_of(factor: StaffSecondFactor, username: str) -> str:
    """The `otpauth:` address that a QR code shows. Raises `SealError`."""
    totp = TOTP(b32decode(secret_of(factor)), DIGITS, SHA1(), STEP_S)  # noqa: S303 - what every app computes
    return totp.get_provisioning_uri(username, ISSUER)


def confirm(user: Any, code: str) -> tuple[str, ...]:
    """Puts the pending factor in force. The backup codes, which exist only here; empty when the code is wrong."""
    with transaction.atomic():
        factor = StaffSecondFactor.objects.select_for_update().filter(user_id=user.pk).first()
        if factor is None or factor.confirmed_at is not None or not _take_step(factor, _plain(code)):
            return ()
        factor.confirmed_at = timezone.now()
        return _new_backup_codes(factor)


def accept(user: Any, code: str) -> bool:
    """Takes a code of either kind, once."""
    with transaction.atomic():
        factor = StaffSecondFactor.objects.select_for_update().filter(user_id=user.pk).first()
        if factor is None or factor.confirmed_at is None:
            return False
        plain = _plain(code)
        return _take_step(factor, plain) or _take_backup_code(factor, plain)


def renew_backup_codes(user: Any) -> tuple[str, ...]:
    """The old ones stop working."""
    with transaction.atomic():
        return _new_backup_codes(StaffSecondFactor.objects.select_for_update().get(user_id=user.pk))


def remove(user: Any) -> bool:
    """False when there was none."""
    return StaffSecondFactor.objects.filter(user_id=user.pk).delete()[0] > 0


def reseal(keys: KeyRing) -> int:
    """Encrypts every secret again under the newest key; how many. Raises `SealError` when one opens under none."""
    with transaction.atomic():
        factors = list(StaffSecondFactor.objects.select_for_update())
        for factor in factors:
            text = keys.open(bytes(factor.sealed_secret), bound_to=_bound(factor.user_id)).reveal()
            factor.sealed_secret = keys.seal(text, bound_to=_bound(factor.user_id))
            factor.save(update_fields=["sealed_secret"])
    return len(factors)


def is_sealed_wrongly(keys: KeyRing) -> bool:
    """Whether no configured key opens some second factor: its owner could not log in."""
    for factor in StaffSecondFactor.objects.all():
        try:
            keys.open(bytes(factor.sealed_secret), bound_to=_bound(factor.user_id))
        except SealError:
            return True
    return False


def _take_step(factor: StaffSecondFactor, code: str) -> bool:
    """One step early or late is allowed for, as clocks differ (RFC 6238 §5.2); none is taken twice."""
    try:
        generator = HOTP(b32decode(secret_of(factor)), DIGITS, SHA1())  # noqa: S303
    except SealError as error:
        log.error(
            "A second factor cannot be opened", metadata={"user": factor.user_id, "problem": str(error)}
        )
        return False
    now = int(time.time()) // STEP_S
    for step in (now, now - 1, now + 1):
        if step > factor.last_step and hmac.compare_digest(generator.generate(step), code.encode()):
            factor.last_step = step
            factor.save()
            return True
    return False


def _take_backup_code(factor: StaffSecondFactor, code: str) -> bool:
    digest = _digest(code)
    if len(code) != BACKUP_CHARS or digest not in factor.backup_digests:
        return False
    factor.backup_digests = [known for known in factor.backup_digests if known != digest]
    factor.save()
    return True


def _new_backup_codes(factor: StaffSecondFactor) -> tuple[str, ...]:
    codes = [b32encode(secrets.token_bytes(BACKUP_BYTES)).decode().lower() for _ in range(BACKUP_CODES)]
    factor.backup_digests = [_digest(code) for code in codes]
    factor.save()
    return tuple("-".join(code[n : n + 4] for n in range(0, BACKUP_CHARS, 4)) for code in codes)


def _digest(code: str) -> str:
    return hashlib.sha256(b"llm-caller backup code\0" + code.encode()).hexdigest()


def _plain(code: str) -> str:
    return code.replace(" ", "").replace("-", "").lower()


def _bound(user_id: int) -> str:
    return f"second factor of user {user_id}"


def _keys() -> KeyRing:
    return KeyRing(settings.ENCRYPTION_KEYS)
