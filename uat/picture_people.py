"""Pictures of logging in, of users and groups, and of the guides inside the product."""

import picture_acts as act
from picture_book import Shot

from gateway.guides import GUIDES as NAMES

USER, GROUP, FACTOR = "/admin/auth/user/", "/admin/auth/group/", "/admin/gateway/staffsecondfactor/"
ACCOUNT = "/admin/second-factor/account/"

PEOPLE = [
    Shot("login", "Logging in", "Name and password; after the first start they are `admin` and what stands in `var/admin-password.txt`.", "/admin/login/", who=""),
    Shot("login-refused", "A login that is refused", "The wrong name or password; after several in a row one has to wait.", "/admin/login/", act.refused_login, who=""),
    Shot("logged-out", "Logged out", "After *Log out*; the link leads back to the login.", "/admin/login/", act.logged_out, ("admin:logout",), who=""),
    Shot("password", "Changing your password", "The old one once, the new one twice; the link stands at the top of every page.", "/admin/password_change/"),
    Shot("password-changed", "Password changed", "It is in force from now on; other sessions of yours are logged out.", "/admin/password_change/done/"),
    Shot("users", "Users", "The people who may log in, and who of them is staff; open one to change what he may do.", USER),
    Shot("user-add", "Adding a user", "Name and password first; what he may do is asked on the page that follows.", f"{USER}add/"),
    Shot("user", "A user", "Tick *Staff status* and choose a group: operators, auditors or viewers.", f"{USER}2/change/"),
    Shot("user-password", "Setting somebody's password", "For who has forgotten it: a new one twice, which you hand over in person.", f"{USER}2/password/"),
    Shot("groups", "Groups", "The three groups of the product, and your own: what their members may do.", GROUP),
    Shot("group-add", "Adding a group", "A name and the permissions that its members get.", f"{GROUP}add/"),
    Shot("group", "A group", "What the members of this group may do; move permissions from left to right to give them.", f"{GROUP}1/change/"),
    Shot("second-factor", "A second factor", "Whether your login asks for a code after the password; *Set up* begins.", ACCOUNT),
    Shot("second-factor-set-up", "Setting up the second factor", "Scan the code with an authenticator app on your phone, then type the six digits that it shows.", ACCOUNT, act.factor_begun),
    Shot("second-factor-codes", "The second factor is on", "Ten backup codes for when the phone is out of reach, shown only now: print them.", ACCOUNT, act.factor_confirmed),
    Shot("second-factor-on", "The second factor, later", "New backup codes, or another device: each asks for a code first.", ACCOUNT),
    Shot("second-factor-login", "Logging in with a second factor", "After the password: the six digits of the app, or a backup code.", "/admin/login/", act.logged_in("olga", "the auditor's password 1"), ("admin:second_factor",), who=""),
    Shot("second-factors", "Second factors", "Who has one, and since when; `manage.py reset_second_factor` helps who lost both phone and codes.", FACTOR),
    Shot("second-factor-row", "One of the second factors", "One of these rows, to look at; never the secret.", FACTOR, act.opened, ("admin:gateway_staffsecondfactor_change",)),
]  # fmt: skip

GUIDES = [
    Shot("guides", "The guides inside the product", "The guides of this version, under *Guides* at the top of every page; pick the one for what you do.", "/docs/"),
    *(
        Shot(f"guide-{name}", f"Guide: {title}", "The guide as a page of the product; the others are a click away, above it.", f"/docs/{name}", whole=False)
        for name, title in NAMES.items()
    ),
]  # fmt: skip
