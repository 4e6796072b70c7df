"""The walk-through at the head of `docs/pictures.md`: from the login to the first call, in words that are followed.

Each `do` is in the words of `walking.py`, and each phrase in *italics* of a `see` is looked for on the page: the
pictures are taken by doing what the text says, and a test does the same from the text alone.
"""

from picture_book import Step

BEFORE = """\
Two things have to run before you begin:

- LM Studio, with a model loaded and its server started: in LM Studio, *Developer*, *Start server*. It says there at which address it listens, usually `http://localhost:1234`; with `/v1` behind it, that is the address you need.
- LLM Caller, started with `./uat/start_server.sh` in its folder. It listens on `http://127.0.0.1:4037`, and wrote the password of the user `admin` into `var/admin-password.txt`.

The first start brought examples, which your pages list and the pictures do not. Leave them, but know that `lmstudio_gpu` is one of them: it has a higher score, so it may answer in the place of `my-lmstudio`, until you press *Disable* on its page. Names in *italics* are written like that on the page."""

WALK = [
    Step(
        "walk-open", "Open the admin",
        "Open `http://127.0.0.1:4037/admin/` in a browser.",
        "the login, with *Username* and *Password*.",
    ),
    Step(
        "walk-home", "Log in",
        "Type `admin` into *Username*. Type what stands in `var/admin-password.txt` into *Password*. Click *Log in*.",
        "*Is it well?*, the home page. Nothing has been called yet, so its figures are empty. The sections stand at the top of every page.",
    ),
    Step(
        "walk-providers", "Go to the providers",
        "Click *Providers*.",
        "the list of providers: the places where models run. Above it stands *Add provider*.",
    ),
    Step(
        "walk-kinds", "Say that it is LM Studio",
        "Click *Add provider*.",
        "*What kind of provider is it?*, with a card for each kind.",
    ),
    Step(
        "walk-lmstudio", "Name it and give its address",
        "Click *LM Studio*. Type `my-lmstudio` into *Name*. Type `http://localhost:1234/v1` into *Base URL*, or "
        "where your LM Studio listens.",
        "the form with what is usual for LM Studio filled in. It needs no key.",
    ),
    Step(
        "walk-models", "Let it find the models",
        "Click *Find models*. Choose `gemma-3-270m` under *Use as default model*, or another of your models.",
        "*models* found, and your choice in the field *Default model*. If it says that nothing answers, start the server in LM "
        "Studio, correct the address, and click *Find models* again.",
    ),
    Step(
        "walk-saved", "Save it",
        "Click *Save and continue editing*.",
        "*was added successfully*. From now on, calls may go to it.",
    ),
    Step(
        "walk-checked", "Check it",
        "Click *Check now*.",
        "*my-lmstudio* with the state *ok*, and how many models it lists. If something is wrong, it says what, and what to do.",
    ),
    Step(
        "walk-clients", "Go to the clients",
        "Click *Clients*.",
        "the list of clients: the programs that may call. Above it stands *Add client*.",
    ),
    Step(
        "walk-client", "Add the program that will call",
        "Click *Add client*. Type `editor` into *Tool id*. Tick *chat*. Tick *chatStream*.",
        "the form of a client. All else may stay empty.",
    ),
    Step(
        "walk-client-saved", "Save it, too",
        "Click *Save*.",
        "*was added successfully*, and below, that it has no token yet: *nobody can call as this client*.",
    ),
    Step(
        "walk-issue", "Ask for a token",
        "Scroll down to *Tokens*. Click *Issue token*.",
        "*Issue a token for editor*. You may choose when it ends; as it stands, that is in 90 days.",
    ),
    Step(
        "walk-token", "Copy the token",
        "Click *Issue token*. Click *Copy the token*, and put it where your program reads it.",
        "*A new token for editor*. *This is the only time it is shown*: when it is lost, issue another.",
    ),
    Step(
        "", "Make the first call",
        "Copy what stands below *Try it in a terminal* and run it in a terminal.",
        'a line of JSON with the model\'s answer: `"requestId":"first-call"`, the text under `"content"`, and '
        "`my-lmstudio` as the one that answered.",
    ),
    Step(
        "walk-record", "See the call on record",
        "Click *Record*.",
        "your call in the first line: *editor*, *my-lmstudio*, and *ok*. Its time leads to everything that is known "
        "of it.",
    ),
]  # fmt: skip
