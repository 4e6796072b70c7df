"""Models that are named where no provider lists them, or hides them: default models, aliases, what clients may use."""

from collections.abc import Collection

from django.db.models import Q

from providers.models import ModelAlias, Provider


def unlisted_defaults(row: Provider) -> list[str]:
    """Empty while nothing is known of what it lists."""
    found = set(row.model_rows.filter(discovered_at__isnull=False).values_list("model_id", flat=True))
    if not found:
        return []
    defaults = row.capability_rows.filter(declared=True).values_list("default_model", flat=True)
    wanted = dict.fromkeys(filter(None, (row.default_model, *defaults)))
    return [model for model in wanted if model not in found]


def warning(row: Provider) -> str:
    """In sentences; "" for nothing."""
    missing = unlisted_defaults(row)
    if not missing:
        return ""
    names = ", ".join(f"“{model}”" for model in missing)
    return (
        f"When “{row.name}” was asked for its models, it did not list {names}: calls that take it by default may "
        "fail. Choose another default model, or load this one at the provider."
    )


def warnings_of(aliases: Collection[str]) -> list[str]:
    """Of the aliases with these names."""
    rows = ModelAlias.objects.filter(name__in=aliases).select_related("provider")
    return [said for row in rows for said in alias_warnings(row)]


def alias_warnings(row: ModelAlias) -> list[str]:
    """What is odd about an alias, in sentences."""
    said = []
    if not row.provider.enabled:
        said.append(f"“{row.provider}” is disabled: calls for “{row.name}” fail until it is enabled.")
    models = row.provider.model_rows
    if (
        models.filter(discovered_at__isnull=False).exists()
        and not models.filter(model_id=row.model_id).exists()
    ):
        said.append(
            f"When “{row.provider}” was asked for its models, it did not list “{row.model_id}”: calls for "
            f"“{row.name}” may fail."
        )
    if row.name == row.target:
        return said
    if hidden := [
        name for name in _offering(row.name) if (name, row.name) != (row.provider.name, row.model_id)
    ]:
        said.append(
            f"“{row.name}” is also a model of {', '.join(hidden)}. The alias wins: whoever asks for the model by its "
            f"name alone gets {row.target}."
        )
    name, slash, model = row.name.partition("/")
    if slash and model and Provider.objects.filter(name=name).exists():
        said.append(
            f"“{row.name}” reads like the model {model} of the provider {name}. The alias wins: who asks for it "
            f"gets {row.target}."
        )
    return said


def _offering(model: str) -> list[str]:
    """Names of the providers that have it, found or configured, in order."""
    has_it = (
        Q(model_rows__model_id=model)
        | Q(default_model=model)
        | Q(capability_rows__declared=True, capability_rows__default_model=model)
    )
    return list(dict.fromkeys(Provider.objects.filter(has_it).values_list("name", flat=True)))


def allowed_warnings(models: Collection[str]) -> list[str]:
    """Of models that a client is restricted to, in sentences. An alias stands for its model, which is what counts."""
    aliases = {row.name: row for row in ModelAlias.objects.filter(name__in=models).select_related("provider")}
    unknown = [model for model in dict.fromkeys(models) if not _offering(model)]
    said = [
        f"“{name}” is an alias. What counts is the model that it stands for: write {aliases[name].model_id}."
        for name in unknown
        if name in aliases
    ]
    if others := [f"“{model}”" for model in unknown if model not in aliases]:
        said.append(
            f"No provider lists {', '.join(others)}: calls for it are refused, unless they name a provider that has "
            "it all the same."
        )
    return said
