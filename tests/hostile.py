"""Rows that try to run something in the browser of whoever looks at them: a payload in every text of every table.

The texts are found by asking the models, so that a new field is covered by itself. `fill` runs inside a gateway's
own environment (`manage.py shell`); what it returns tells the test where the rows are.
"""

import types
import uuid
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

MARK = "<xss>"
"""An element that no page of ours has, for places too short for more. It shows markup that got through."""
PAYLOADS = (
    "<script>xss()</script><xss>",
    "\"><img src=x onerror=xss()><xss x='",
    "'><svg onload=xss()><xss x=\"",
    '" autofocus onfocus=xss() x="',
    "javascript:xss()//",
    "</script></title></textarea></style><script>xss()</script><xss>",
    "&lt;img src=x onerror=xss()&gt;&lt;xss&gt;",
    '{{"xss"|add:"ed"}}{% now 7*7 %}${xss()}<xss>',
    "\u2028'-xss()-'\\\";xss();//\u202e<xss>",
)
EVALUATED = "xssed"
"""What the page would say if a stored text were rendered as a template."""
PEOPLE = ("superuser", "operators", "auditors", "viewers")
OWING = f"{PAYLOADS[2]}owing"
PASSWORD = "a hostile person's password 1"
NOT_TRIED = {
    "sessions.Session": "read back only as what we signed ourselves",
    "contenttypes.ContentType": "names of our own tables, written by migrate",
    "clients.Client.allowed_networks": "read as addresses wherever it is loaded; forms and imports refuse all else",
}
"""Tables and columns without a payload, and why."""
REFUSED = {
    "clients.Client.capture": "off, failures and all",
    "clients.ClientToken.digest": "64 hexadecimal digits",
    "clients.MethodPermission.method": "the known methods",
    "providers.ProviderCapability.capability": "the known capabilities",
    "providers.Provider.credential_source": "a name stands beside env and file only",
}
"""Columns of which the table itself takes certain values only."""


def person(role: str) -> str:
    """A user's name; payloads themselves, so that the head of every page shows one."""
    return f"{PAYLOADS[PEOPLE.index(role)]}{role}"


def fitting(payload: str, longest: int | None, n: int) -> str:
    """The payload, or what of the same kind fits. `n` tells rows apart where a text has to be unique."""
    text = f"{payload}{n}"
    return text if longest is None or len(text) <= longest else f"{MARK}{n}"


def shaped(kind: Any, text: str) -> Any:
    """A value of this type, with `text` wherever it holds one."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is str or origin is Literal:
        return text
    if kind in (int, float):
        return 1
    if kind is bool:
        return True
    if origin in (list, tuple):
        return [shaped(inner[0], text)]
    if origin is dict:
        return {text: shaped(inner[1], text)}
    if origin in (Union, types.UnionType):
        return shaped(inner[0], text)
    if kind is msgspec.Raw:
        from providers.decision import Decision

        return shaped(Decision, text)
    return {field.encode_name: shaped(field.type, text) for field in msgspec.structs.fields(kind)}


def shapes() -> dict[str, Any]:
    """What the pages expect of a JSON column; of one that is not named here, whatever its default is."""
    from gateway.decided import Decided
    from providers.attempt import Attempt

    return {
        "telemetry.RequestLog.attempts": list[Attempt],
        "telemetry.RequestLog.decision": Decided,
        "telemetry.RequestLog.sanitised": dict[str, int],
        "telemetry.CallRollup.outcomes": dict[str, int],
        "telemetry.FailedAuthentication.counted_by": dict[str, int],
        "telemetry.CallRollup.latency": list[int],
        "telemetry.CallRollup.first_event": list[int],
        "gateway.ConfigChange.before": dict[str, str],
        "gateway.ConfigChange.after": dict[str, str],
        "clients.Client.allowed_providers": list[str],
        "clients.Client.allowed_models": list[str],
    }


class Filler:
    """Makes the n-th row of each table, and of those it belongs to. `filled`: the texts that hold a payload."""

    def __init__(self) -> None:
        self.shapes = shapes()
        self.filled: set[str] = set()
        self.refused: set[str] = set()
        self._made: dict[tuple[str, int], Any] = {}

    def row(self, model: Any, n: int) -> Any:
        label = model._meta.label
        if (label, n) not in self._made:
            self._made[label, n] = self._make(model, n)
        return self._made[label, n]

    def _make(self, model: Any, n: int) -> Any:
        if model._meta.label in NOT_TRIED:
            return model.objects.order_by("pk")[n]
        plain = {f.name: self._plain(f, n) for f in model._meta.concrete_fields if not f.primary_key}
        plain = {name: value for name, value in plain.items() if value is not None}
        # Every other row keeps to the choices of a form, as pages show more of what they know.
        asked = [f for f in texts(model) if n % 2 == 0 or not f.choices]
        hostile = {f.name: text for f in asked if (text := self._hostile(model, f, n)) is not None}
        taken = {name for name in hostile if _is_taken(model, plain, {name: hostile[name]})}
        row = model(**plain | {name: hostile[name] for name in taken})
        row.save()
        self.filled |= {f"{model._meta.label}.{name}" for name in taken}
        self.refused |= {f"{model._meta.label}.{name}" for name in set(hostile) - taken}
        return row

    def _hostile(self, model: Any, field: Any, n: int) -> Any:
        name = f"{model._meta.label}.{field.name}"
        if name in NOT_TRIED:
            return None
        text = fitting(PAYLOADS[n], field.max_length, n)
        if field.get_internal_type() != "JSONField":
            return text
        shape = self.shapes.get(name, list[str] if field.get_default() == [] else dict[str, str])
        return shaped(shape, text)

    def _plain(self, field: Any, n: int) -> Any:
        from django.utils import timezone

        named = PLAIN.get(f"{field.model._meta.label}.{field.name}") or PLAIN.get(field.name)
        if named is not None:
            return named(n)
        if field.choices:
            return field.choices[n % len(field.choices)][0]
        if field.is_relation:
            return self.row(field.related_model, n)
        if field.has_default() or field.null:
            return None
        kind = field.get_internal_type()
        if kind in ("DateTimeField", "DateField"):
            return timezone.now()
        if kind == "UUIDField":
            return uuid.uuid4()
        return n + 1 if "Integer" in kind else f"plain-{n}"


def call_id(n: int) -> uuid.UUID:
    """The same in each table, so that what is kept of a call belongs to one."""
    return uuid.UUID(int=n + 1)


PLAIN = {
    "capability": lambda n: ("chat", "chatStream", "embed")[n % 3],
    "method": lambda n: ("chat", "chatStream", "embed", "getHealth", "models")[n % 5],
    "digest": lambda n: f"{n:064x}",
    "credential_source": lambda n: "env",
    "credential_name": lambda n: f"KEY_{n}",
    "sealed_secret": lambda n: b"sealed later, when the user is known",
    "call_id": call_id,
    "telemetry.SavedFilter.shared": lambda n: True,  # each is opened by people who do not own it
    "telemetry.RequestLog.sequence": lambda n: n + 100,  # behind what any signature covers
    "ciphertext": lambda n: b"sealed later, when the keys are at hand",
}
"""Where a table takes certain values only."""


def texts(model: Any) -> list[Any]:
    """Columns whose values are text that a page may show."""
    kinds = ("CharField", "TextField", "JSONField", "SlugField", "URLField", "EmailField", "FilePathField")
    return [field for field in model._meta.concrete_fields if field.get_internal_type() in kinds]


def _is_taken(model: Any, plain: dict[str, Any], hostile: dict[str, Any]) -> bool:
    """Whether the table itself takes it. What only a form would refuse is stored all the same."""
    from django.db import IntegrityError, transaction

    try:
        with transaction.atomic():
            model(**plain | hostile).save()
            transaction.set_rollback(True)
    except IntegrityError:
        return False
    return True


def fill() -> dict[str, Any]:
    from django.apps import apps

    filler = Filler()
    models = [model for model in apps.get_models() if model._meta.label not in NOT_TRIED]
    rows = {model._meta.label_lower: [filler.row(model, n) for n in range(len(PAYLOADS))] for model in models}
    for found in list(rows.values()):
        for n, row in enumerate(found):
            _give_history(row, n)
    _keep_files_in_versions()
    _make_people()
    _seal_second_factors()
    _seal_contents()
    every = {f"{model._meta.label}.{field.name}" for model in models for field in texts(model)}
    return {
        "rows": {label: [row.pk for row in found] for label, found in rows.items()},
        "filled": sorted(filler.filled),
        "refused": sorted(filler.refused),
        "untried": sorted(every - filler.filled - filler.refused),
    }


def _give_history(row: Any, n: int) -> None:
    """As people's changes leave it, in both of Django's ways of writing one down."""
    import json

    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.auth.models import User
    from django.contrib.contenttypes.models import ContentType

    told = {"name": PAYLOADS[n], "object": PAYLOADS[n], "fields": [PAYLOADS[n]]}
    for message in (PAYLOADS[n], json.dumps([{"changed": told}])):
        LogEntry.objects.create(
            user=User.objects.get(username=fitting(PAYLOADS[n], 150, n)),
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=PAYLOADS[n],
            action_flag=CHANGE,
            change_message=message,
        )


def _seal_second_factors() -> None:
    """As the product does; the gateway does not start with one that no key opens."""
    from gateway import second_factor
    from gateway.models import StaffSecondFactor

    for factor in StaffSecondFactor.objects.all():
        bound = second_factor._bound(factor.user_id)
        factor.sealed_secret = second_factor._keys().seal("JBSWY3DPEHPK3PXP", bound_to=bound)
        factor.save()


def _seal_contents() -> None:
    """As the product does; each with a payload wherever the page shows one, and none too old to be opened."""
    from datetime import timedelta

    from django.conf import settings
    from django.utils import timezone

    from gateway.capture import content_of, seal
    from providers.secrets import KeyRing
    from providers.types import ChatRequest, Message, ToolCall
    from telemetry.models import CapturedContent

    keys = KeyRing(settings.ENCRYPTION_KEYS)
    for n, row in enumerate(CapturedContent.objects.order_by("pk")):
        asked = ChatRequest(messages=(Message(role="user", content=PAYLOADS[n]),))
        calls = (ToolCall(id="t", name=PAYLOADS[n], arguments=PAYLOADS[n]),)
        content = content_of(asked, PAYLOADS[n], calls, 10_000)
        row.ciphertext = seal(content, str(row.call_id), keys)
        row.expires_at = timezone.now() + timedelta(days=1)
        row.save()


def _keep_files_in_versions() -> None:
    """Full and empty by turns, so that there is a difference between any two."""
    from gateway.models import ConfigVersion
    from gateway.rendering import CLIENTS, PROVIDERS, pack, render_all

    full, empty = render_all(), {PROVIDERS: '{"providers": {}}', CLIENTS: '{"clients": []}'}
    for n, version in enumerate(ConfigVersion.objects.all()):
        version.before = pack(empty if n % 2 else full)
        version.save()


def _make_people() -> None:
    """`OWING` has a second factor, and is asked for it."""
    from django.contrib.auth.models import Group, User
    from django.utils import timezone

    from gateway.models import StaffSecondFactor

    owing = User.objects.create_superuser(OWING, "", PASSWORD)
    StaffSecondFactor.objects.create(user=owing, sealed_secret=b"", confirmed_at=timezone.now())
    for role in PEOPLE:
        user = User.objects.create_user(person(role), "", PASSWORD, is_staff=True, first_name=PAYLOADS[0])
        user.is_superuser = role == "superuser"
        user.save()
        if role != "superuser":
            user.groups.add(Group.objects.get(name=role), *Group.objects.filter(name__contains="xss"))
