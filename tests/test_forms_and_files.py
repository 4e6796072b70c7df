"""What a form of the admin keeps can be exported and imported again, unchanged; the rest it refuses at its field."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser

from clients.models import Client, RegistryHeader
from gateway.configfile import CLIENTS, PROVIDERS, ImportRefused, import_contents, read_contents, render
from gateway.reading import Content
from providers.models import FileHeader, ModelAlias, Provider, ProviderModel

pytestmark = pytest.mark.django_db
Fields = dict[str, Any]

CONTROL, LINES, NUL, UNICODE = "a\x07b", "a\nb", "a\x00b", "модель 🦙\u2028\x85"
TEXTS = (
    "",
    " ",
    CONTROL,
    LINES,
    NUL,
    UNICODE,
    " m ",
    "a/b",
    "/",
    "~1",
    '"',
    "\\",
    "<b>",
    "m" * 500,
    "m" * 501,
)
NUMBERS = ("", "0", "-1", "1", "1.5", "x", str(2**31 - 1), str(2**31), str(2**63), "9" * 400)
SCORES = (
    "",
    "0",
    "-0.0",
    "-5",
    "1.5",
    "1e6",
    "-1000000.1",
    "1e300",
    "-1e308",
    "1e309",
    "nan",
    "inf",
    "9" * 30,
    "0.1",
    "5e-324",
)
NAMES = (
    "a/b",
    "two words",
    "ä",
    "-a",
    "openai",
    "a" * 100,
    "a" * 101,
    ".",
    "~",
    "",
    NUL,
    "a\n",
    "lmstudio_x",
)
NOTES = ("", " x ", "a\r\nb\r\n", NUL, CONTROL, "n" * 10_000, "n" * 10_001, '"\\/', "\u2028")
URLS = (
    "", "ftp://x", "http://", "http://localhost:99999/v1", "http://u:p@localhost/v1", "http://localhost/v1?a=b",
    "http://localhost/v1#a", "http://local host/v1", "http://localhost\\v1", "http://[::1]:1234/v1", "http://[::1",
    "http://☃.example/v1", "http://a..b/v1", "https://" + "a" * 64 + ".example", "http://localhost/" + "a" * 500,
    "HTTP://LOCALHOST/v1/", "http://localhost/\x07", NUL,
)  # fmt: skip
NETWORKS = (
    "", "(none)", "10.0.0.0/8", "10.1.2.3/8", "10.0.0.1", "::1", "fe80::1%eth0/64", "fe80::1%eth0", "0.0.0.0/0",
    "::ffff:10.0.0.0/104", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10/8", "010.0.0.1", "١٠.0.0.1", "10.0.0.0/8, ::1",
    "10.0.0.0/8\n10.0.0.0/8", "10.0.0.0/8\r\n\r\n ::1 ", NUL, "a" * 501, "10.0.0.0/8\u2028::1",
)  # fmt: skip
LISTS = ("", "(none)", "a", "a\na", "(none)\na", CONTROL, NUL, UNICODE, "/", "m" * 500, "m" * 501, "a\x0bb")


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada"))
    return browser


def provider_form(**more: Any) -> Fields:
    """One row of the grid is enough; `capability_…`: a field of that row."""
    row = {"capability": "chat", "declared": "on", "default_model": "", "score": ""}
    row |= {name.removeprefix("capability_"): more.pop(name) for name in list(more) if "capability_" in name}
    rows = {"capability_rows-TOTAL_FORMS": 1, "capability_rows-INITIAL_FORMS": 0}
    rows |= {f"capability_rows-0-{name}": value for name, value in row.items()}
    provider = {
        "name": "lmstudio_new",
        "kind": "lmstudio",
        "base_url": "http://localhost:1234/v1",
        "default_model": "m",
        "enabled": "on",
        "credential_source": "default",
    }
    return provider | rows | more


def client_form(**more: Any) -> Fields:
    return {"tool_id": "bob", "enabled": "on", "methods": ["chat"]} | more


def row_form(**more: Any) -> Fields:
    """Of a model or an alias, which need a provider to belong to."""
    known = Provider.objects.first() or _a_provider()
    return {"provider": known.pk, "model_id": "m", "configured": "on", "position": 0} | more


def _a_provider() -> Provider:
    row = Provider.objects.create(
        name="lmstudio", kind="lmstudio", base_url="http://localhost/v1", default_model="m"
    )
    row.capability_rows.create(capability="chat")
    row.model_rows.create(model_id="known")
    row.aliases.create(name="known", model_id="known")
    return row


FORMS: dict[str, tuple[Any, Any]] = {
    "providers/provider": (provider_form, Provider),
    "providers/providermodel": (row_form, ProviderModel),
    "providers/modelalias": (lambda **more: row_form(name="fast") | more, ModelAlias),
    "providers/fileheader": (lambda **more: more, FileHeader),
    "clients/client": (client_form, Client),
    "clients/registryheader": (lambda **more: more, RegistryHeader),
}
ODD: dict[tuple[str, str], tuple[Any, ...]] = {
    ("providers/provider", "name"): NAMES,
    ("providers/provider", "kind"): ("", "anthropic", "openai", "openai-compatible", "no-such"),
    ("providers/provider", "base_url"): URLS,
    ("providers/provider", "default_model"): TEXTS,
    ("providers/provider", "enabled"): ("", "on"),
    ("providers/provider", "configured_models"): (*TEXTS, "a\r\na", "a\n\nb", "a\x0bb"),
    **{("providers/provider", name): NUMBERS for name in ("connect_ms", "first_event_ms", "idle_ms")},
    **{("providers/provider", name): NUMBERS for name in ("total_ms", "max_concurrency")},
    ("providers/provider", "notes"): NOTES,
    ("providers/provider", "capability_capability"): ("", "embed", "fly", NUL),
    ("providers/provider", "capability_declared"): ("", "on"),
    ("providers/provider", "capability_default_model"): TEXTS,
    ("providers/provider", "capability_score"): SCORES,
    ("providers/providermodel", "model_id"): (*TEXTS, "known"),
    ("providers/providermodel", "configured"): ("", "on"),
    ("providers/providermodel", "position"): NUMBERS,
    ("providers/providermodel", "provider"): ("", "0", "x"),
    ("providers/modelalias", "name"): (*TEXTS, "known", "lmstudio/m"),
    ("providers/modelalias", "model_id"): TEXTS,
    ("providers/modelalias", "position"): NUMBERS,
    ("providers/modelalias", "provider"): ("", "0", "x"),
    ("providers/fileheader", "description"): NOTES,
    ("providers/fileheader", "schema"): (*TEXTS, "s" * 2000, "s" * 2001),
    ("clients/client", "tool_id"): (*TEXTS, "t" * 200, "t" * 201),
    ("clients/client", "enabled"): ("", "on"),
    ("clients/client", "methods"): ([], ["models", "chat"], ["chat", "chat"], ["fly"]),
    ("clients/client", "notes"): NOTES,
    ("clients/client", "max_concurrency"): NUMBERS,
    ("clients/client", "allowed_networks"): NETWORKS,
    ("clients/client", "allowed_providers"): LISTS,
    ("clients/client", "allowed_models"): LISTS,
    ("clients/registryheader", "description"): NOTES,
    ("clients/registryheader", "schema"): (*TEXTS, "s" * 2000, "s" * 2001),
}
CREDENTIALS: tuple[Fields, ...] = (
    *(
        {"credential_source": "env", "credential_name": name}
        for name in ("", "A_KEY", "sk-x", "a b", NUL, "A" * 201)
    ),
    *(
        {"credential_source": "env", "credential_name": name}
        for name in ("DATABASE_URL", "llm_caller_x", "ÄKEY")
    ),
    *(
        {"credential_source": "file", "credential_name": name}
        for name in ("", "/k", "a b", NUL, "a\x07", "/proc/1")
    ),
    *({"credential_source": "file", "credential_name": "/" + "k" * length} for length in (499, 500)),
    {"credential_source": "default", "credential_name": "left over"},
    {"credential_source": "stored", "new_key": "sk-1"},
    {"credential_source": "no-such"},
)
LIMITS: tuple[Fields, ...] = (
    *({"max_requests": number, "interval_ms": "1000"} for number in NUMBERS),
    *({"interval_ms": number, "max_requests": "5"} for number in NUMBERS),
    *({"max_requests": number, "interval_ms": number} for number in NUMBERS),
)
CASES = [
    *((table, {field: value}) for (table, field), values in ODD.items() for value in values),
    *(("providers/provider", fields) for fields in CREDENTIALS),
    *(("clients/client", fields) for fields in LIMITS),
]


def refused_fields(answer: Any) -> set[str]:
    """Of the form, and of the grid's row as `capability_…`."""
    found = set(answer.context["adminform"].form.errors)
    for inline in answer.context["inline_admin_formsets"]:
        found |= {f"capability_{name}" for row in inline.formset.errors for name in row}
        if inline.formset.non_form_errors():
            found.add("capability_declared")
    return found


def exported() -> dict[str, bytes]:
    return {name: render(name) for name in (PROVIDERS, CLIENTS)}


def import_into_nothing(files: dict[str, bytes]) -> None:
    for model in (Provider, FileHeader, Client, RegistryHeader):
        model.objects.all().delete()
    import_contents([Content(name, name, data) for name, data in files.items()])


@pytest.mark.parametrize(
    ("table", "odd"), CASES, ids=[f"{t}-{next(iter(o))}-{n}" for n, (t, o) in enumerate(CASES)]
)
def test_what_a_form_keeps_is_exported_and_imported_unchanged_and_the_rest_is_refused_at_its_field(
    ada: Browser, table: str, odd: Fields
) -> None:
    form, model = FORMS[table]
    sent = form(**odd)
    before = model.objects.count(), exported()
    answer = ada.post(f"/admin/{table}/add/", sent)
    if answer.status_code == 302:
        assert model.objects.count() == before[0] + 1
        kept = exported()
        import_into_nothing(kept)
        assert exported() == kept
    else:
        assert answer.status_code == 200
        assert refused_fields(answer) & odd.keys(), refused_fields(answer)
        assert (model.objects.count(), exported()) == before


def as_a_browser_sends(answer: Any) -> Fields:
    """Every field of the page as it was shown, with a browser's line ends."""
    parts = [answer.context["adminform"].form]
    for inline in answer.context["inline_admin_formsets"]:
        parts += [inline.formset.management_form, *inline.formset.forms]
    sent = {field.html_name: field.value() for part in parts for field in part}
    shown = {name: value for name, value in sent.items() if value is not None and value is not False}
    return {name: v.replace("\n", "\r\n") if isinstance(v, str) else v for name, v in shown.items()}


@pytest.mark.parametrize("notes", ["", "one\ntwo\n", "a\r\nb", " x ", "n" * 10_000])
def test_what_was_imported_is_not_changed_by_saving_it_as_it_is(ada: Browser, notes: str) -> None:
    entry = {"baseUrl": "http://localhost/v1", "defaultModel": "m", "capabilities": ["chat"], "notes": notes}
    entry |= {"scores": {"chat": 999999.5}, "models": ["b", "a"]}
    header = {"$schema": "s", "description": notes}
    files = {
        PROVIDERS: header | {"aliases": {"fast": "lmstudio/a/b"}, "providers": {"lmstudio": entry}},
        CLIENTS: header
        | {"clients": [{"toolId": "bob", "allowedMethods": ["models", "chat"], "notes": notes}]},
    }
    import_contents([Content(name, name, json.dumps(document).encode()) for name, document in files.items()])
    before = exported()
    for table, (_, model) in FORMS.items():
        address = f"/admin/{table}/{model.objects.first().pk}/change/"
        saved = ada.post(address, as_a_browser_sends(ada.get(address)))
        assert saved.status_code == 302, (table, refused_fields(saved))
        assert exported() == before, table


@pytest.mark.parametrize("name", [PROVIDERS, CLIENTS])
def test_a_number_that_no_file_may_hold_is_no_defect_of_the_reader(name: str) -> None:
    with pytest.raises(ImportRefused):
        read_contents([Content(name, name, b'{"providers": ' + b"9" * 400 + b"}")])


@pytest.mark.parametrize(
    ("table", "name"), [("providers/fileheader", PROVIDERS), ("clients/registryheader", CLIENTS)]
)
def test_a_header_without_a_schema_writes_none(ada: Browser, table: str, name: str) -> None:
    assert ada.post(f"/admin/{table}/add/", {"description": "Ours", "schema": ""}).status_code == 302
    assert b"Ours" in exported()[name]
    assert b"$schema" not in exported()[name]


@pytest.mark.parametrize(
    ("score", "said"), [("1000001", "At most 1,000,000."), ("-1e9", "At least -1,000,000.")]
)
def test_an_absurd_score_is_refused_at_its_field(ada: Browser, score: str, said: str) -> None:
    answer = ada.post("/admin/providers/provider/add/", provider_form(capability_score=score))
    assert said in answer.content.decode()
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("table", "field"), [("clients/client", "tool_id"), ("providers/modelalias", "name")]
)
def test_a_new_name_with_characters_that_nobody_sees_is_refused_at_its_field(
    ada: Browser, table: str, field: str
) -> None:
    form, model = FORMS[table]
    answer = ada.post(f"/admin/{table}/add/", form(**{field: "bo\u202eb"}))
    assert refused_fields(answer) == {field}
    assert "U+202E" in answer.content.decode()
    assert not model.objects.filter(**{field: "bo\u202eb"}).exists()


def test_a_client_with_such_a_name_from_before_can_still_be_changed(ada: Browser) -> None:
    bob = Client.objects.create(tool_id="bo\u202eb")
    address = f"/admin/clients/client/{bob.pk}/change/"
    sent = as_a_browser_sends(ada.get(address)) | {"notes": "ours"}
    assert ada.post(address, sent).status_code == 302
    bob.refresh_from_db()
    assert (bob.tool_id, bob.notes) == ("bo\u202eb", "ours")
