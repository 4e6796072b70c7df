"""Which pages there are pictures of: one entry a page. A test compares the list with what the product has.

Another page: `Shot(name, title, the sentence beside it, address)` in its group, then `uat/pictures.py --only NAME`.
"""

import picture_acts as act
from picture_book import Shot
from picture_people import GUIDES, PEOPLE
from picture_record import PROTECTION, RECORD

PROVIDER, CLIENT, TOKEN = (
    "/admin/providers/provider/",
    "/admin/clients/client/",
    "/admin/clients/clienttoken/",
)
MODEL, ALIAS = "/admin/providers/providermodel/", "/admin/providers/modelalias/"
CAPABILITY, FILE_HEADER = "/admin/providers/providercapability/", "/admin/providers/fileheader/"
PERMISSION, REGISTRY_HEADER = "/admin/clients/methodpermission/", "/admin/clients/registryheader/"
VERSION, CHANGE, FILE = (
    "/admin/gateway/configversion/",
    "/admin/gateway/configchange/",
    "/admin/gateway/configfile/",
)
LMSTUDIO = f"{PROVIDER}add/?kind=lmstudio"
PLAN = "admin:configuration_plan"

HOME = [
    Shot("home", "Home: is it well?", "How many calls there are, how they end and how long they take, and what needs attention first; each name leads to the calls or the row behind it.", "/admin/?range=1h"),
    Shot("tables", "All tables", "Every table of the product, also those that have no place in the navigation; pick one to look into it.", "/admin/tables/"),
    Shot("tables-providers", "The tables of one part", "The tables of one part of the product; pick one, or add a row at once.", "/admin/providers/"),
]  # fmt: skip

PROVIDERS = [
    Shot("providers", "Providers", "All places where models run, in the order that settles ties: the arrows move them, the list of actions checks, discovers, enables or disables those that are ticked.", PROVIDER),
    Shot("provider-add", "Adding a provider: which kind?", "The first question when adding a provider; a click on a card fills in what is usual for that kind.", f"{PROVIDER}add/"),
    Shot("provider-add-lmstudio", "Adding LM Studio", "The form after choosing LM Studio: give it a name, correct the address, find its models, say what it can do, and save.", LMSTUDIO),
    Shot("provider-models-found", "Find models: found", "After *Find models*: what the provider lists is offered as default model, and nothing is saved yet.", f"{PROVIDER}1/change/", act.found_models, ("admin:providers_provider_find_models",)),
    Shot("provider-models-refused", "Find models: nothing answers", "When the address leads nowhere it says what is wrong and what to try; correct the address and ask again.", LMSTUDIO, act.found_on(lambda _: act.CLOSED), ("admin:providers_provider_find_models",)),
    Shot("provider", "A provider", "Everything about one provider; change what you like and save, calls follow within a second.", f"{PROVIDER}1/change/"),
    Shot("provider-check", "A provider checked", "After *Check now*: health, latency, the models it lists, and in plain words what is wrong; press it again when you have put it right.", f"{PROVIDER}1/change/", act.clicked("Check now"), ("admin:providers_provider_check",)),
    Shot("provider-discovered", "Models discovered", "After *Discover models*: what the provider lists is stored, and calls may name it.", f"{PROVIDER}1/change/", act.clicked("Discover models"), ("admin:providers_provider_discover",)),
    Shot("provider-history", "The history of a row", "Who changed this provider when, and what; every row of every table has such a page, under *History*.", f"{PROVIDER}1/history/"),
    Shot("provider-delete", "Deleting a provider", "Before it is gone: which clients name it and which aliases point to it, so that you can change those first.", f"{PROVIDER}1/delete/"),
    Shot("provider-capabilities", "Provider capabilities", "Which provider can do what, with which default model and score, over all providers; it is changed on a provider's page.", CAPABILITY),
    Shot("provider-capability", "A provider's capability", "One line of that list, to look at.", f"{CAPABILITY}1/change/"),
    Shot("provider-models", "Provider models", "All models of all providers, by configuration or by discovery; filter by provider, or search for a name.", MODEL),
    Shot("provider-model-add", "Adding a model", "For a model that the provider has but does not list: name it as the provider does, and save.", f"{MODEL}add/"),
    Shot("provider-model", "A model", "One model of one provider; *Configured* keeps it usable also while discovery does not find it.", f"{MODEL}1/change/"),
    Shot("aliases", "Model aliases", "Names of your choosing that clients may ask for instead of a model's own.", ALIAS),
    Shot("alias-add", "Adding an alias", "Choose the name, the provider and the model that it stands for, and save.", f"{ALIAS}add/"),
    Shot("alias", "An alias", "What an alias stands for; point it elsewhere and its callers move along.", f"{ALIAS}1/change/"),
    Shot("provider-file-header-add", "The head of providers.json, when it has none", "A description and a schema for the file that an export writes; it needs neither.", f"{FILE_HEADER}add/"),
    Shot("provider-file-headers", "The head of providers.json in the list", "At most one row: open it to change what the file says at its head.", FILE_HEADER, act.headed),
    Shot("provider-file-header", "The head of providers.json", "What the exported file says at its head; change it and save.", FILE_HEADER, act.headed_and_opened, ("admin:providers_fileheader_change",)),
]  # fmt: skip

CLIENTS = [
    Shot("clients", "Clients", "The programs that may call, what each may do, and when it last called; open one for its tokens.", CLIENT),
    Shot("client-add", "Adding a client", "Give the program a name and tick what it may call; all else may stay empty.", f"{CLIENT}add/"),
    Shot("client", "A client", "What a client may do, from where and how much, with its tokens below: issue, rotate, let end or revoke them there.", f"{CLIENT}1/change/"),
    Shot("client-issue", "Issuing a token", "Choose when the token ends, and have the place ready where it goes before you press the button.", f"{CLIENT}1/issue/"),
    Shot("client-token", "A token issued: shown once", "The only time the token can be seen: copy it, or paste one of the two calls that work at once.", f"{CLIENT}1/issue/", act.issued),
    Shot("client-explain", "What may this client do?", "Where this client's calls go now and why, and what stands in the way of those that would not work.", f"{CLIENT}1/explain/"),
    Shot("client-permissions", "Who may call what", "All clients and methods as a grid: tick or untick and save, and only what you changed is changed.", f"{CLIENT}permissions/"),
    Shot("client-delete", "Deleting a client", "What goes with the client; its calls stay on record.", f"{CLIENT}3/delete/"),
    Shot("tokens", "Client tokens", "All tokens of all clients by their ids, with state and last use; never the tokens themselves.", TOKEN),
    Shot("token", "A token", "What is known of one token; rotate it, change when it ends, or revoke it from here.", f"{TOKEN}1/change/"),
    Shot("token-rotate", "Rotating a token", "Issues a successor and lets the old one work on for the time you choose, so that nothing stands still.", f"{TOKEN}1/rotate/"),
    Shot("token-expiry", "When a token ends", "Choose another end for the token, or none.", f"{TOKEN}1/expiry/"),
    Shot("token-revoke", "Revoking a token", "Stops the token within a second, for good; the page says when it was last used.", f"{TOKEN}1/revoke/"),
    Shot("method-permissions", "Method permissions", "Which client may call which method, as rows; they are changed on a client's page or in the grid.", PERMISSION),
    Shot("method-permission", "A method permission", "One of these rows, to look at.", f"{PERMISSION}1/change/"),
    Shot("registry-header-add", "The head of client-registry.json, when it has none", "A description and a schema for the file that an export writes; it needs neither.", f"{REGISTRY_HEADER}add/"),
    Shot("registry-headers", "The head of client-registry.json in the list", "At most one row: open it to change what the file says at its head.", REGISTRY_HEADER, act.headed),
    Shot("registry-header", "The head of client-registry.json", "What the exported file says at its head; change it and save.", REGISTRY_HEADER, act.headed_and_opened, ("admin:clients_registryheader_change",)),
]  # fmt: skip

PLAYGROUND = [
    Shot("playground", "Playground: a conversation", "Write the messages, send them as one of your clients, and see the answer as it streams, what it took, and why it went where it went.", "/admin/playground/", act.played),
    Shot("playground-why", "Playground: why?", "*Why?* sends nothing and shows who would be considered, with which score, and what would be chosen.", "/admin/playground/", act.asked_why),
]  # fmt: skip

CONFIGURATION = [
    Shot("configuration", "Configuration", "Whether the files and the database agree; plan an import, export, or download from here.", "/admin/configuration/"),
    Shot("configuration-plan", "An import as a plan", "What the import would add, change and remove, with warnings of tokens in use that would stop; nothing happens before *Apply*.", "/admin/configuration/", act.uploaded(1, act.FEWER_CLIENTS), (PLAN,)),
    Shot("configuration-refused", "An import that is refused", "A file that cannot be imported changes nothing; each line names the place in the file as a JSON pointer and what is wrong there.", "/admin/configuration/", act.uploaded(0, act.BROKEN), ("admin:configuration_import",)),
    Shot("configuration-exported", "An export", "After *Export to the folder*: which file was written, and where what it said before is kept.", "/admin/configuration/", act.exported, ("admin:configuration_export",)),
    Shot("configuration-versions", "Configuration versions", "Every change makes a version; open one to see what it changed, or to go back to it.", VERSION),
    Shot("configuration-version", "A version, and the way back", "What this version changed; *Roll back to here* plans the state of then.", f"{VERSION}2/change/"),
    Shot("configuration-roll-back", "Rolling back", "A roll back is a plan like any other: read what would change and which tokens would stop, then apply it or cancel.", f"{VERSION}2/change/", act.clicked("Roll back to here"), (PLAN, "admin:gateway_configversion_rollback")),
    Shot("configuration-changes", "Configuration changes", "Every row that was changed, by whom, when, from where; filter by table or search for a name.", CHANGE, whole=False),
    Shot("configuration-change", "A configuration change", "One change field by field, before and after; of secrets only that they changed.", CHANGE, act.opened, ("admin:gateway_configchange_change",)),
    Shot("configuration-files", "Configuration files", "When each file and the database last said the same.", FILE),
    Shot("configuration-file", "A configuration file", "One of the two, to look at.", f"{FILE}1/change/"),
]  # fmt: skip

GROUPS = {
    "See whether all is well": HOME,
    "Providers and models": PROVIDERS,
    "Clients and tokens": CLIENTS,
    "Try a call": PLAYGROUND,
    "Configuration in and out": CONFIGURATION,
    "The record of calls": RECORD,
    "What protects the record": PROTECTION,
    "People and logging in": PEOPLE,
    "The guides": GUIDES,
}
