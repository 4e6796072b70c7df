"""Pictures of the record, and of what protects it."""

import picture_acts as act
from picture_book import Shot

CALLS = "/admin/telemetry/requestlog/"
T = "/admin/telemetry/"
FILTER = "?period=24h&provider=lmstudio_gpu&outcome=RATE_LIMIT"

RECORD = [
    Shot("record", "Record of calls", "Every call, newest first, without what was asked or answered; open one by its time.", CALLS, whole=False),
    Shot("record-filtered", "The record, filtered", "Fill in what the calls have to be like and press *Apply*; the address can be passed on, and the filter saved.", CALLS + FILTER),
    Shot("record-call", "A call's page", "Everything that is known of a call: who, what, how long each step took, who was considered and why one was chosen, and whether the record of it is intact.", CALLS + "?period=1h&method=chat&outcome=ok", act.opened, ("admin:telemetry_requestlog_change",)),
    Shot("record-live", "The record, live", "Calls as they are stored, with the filter you came with; pause it to read.", f"{CALLS}live/", act.watched),
    Shot("saved-filters", "Saved filters", "Filters under a name, your own and those shared with you; a click opens the record with it.", f"{CALLS}filters/"),
    Shot("saved-filters-table", "Saved filters as a table", "The same as rows, to look at and search.", f"{T}savedfilter/"),
    Shot("saved-filter", "A saved filter", "One of these rows; it is changed by its owner on the page of saved filters.", f"{T}savedfilter/1/change/"),
    Shot("record-export", "Exporting the record", "Choose period and format and download; an evidence pack can be verified anywhere.", "/admin/record/export/"),
    Shot("record-sent-text", "Was this text sent?", "Paste a text to learn whether it was sent or answered, by whom and when; the text itself is not kept.", CALLS + "sent-text/"),
    Shot("failed-authentications", "Failed authentication", "Who was turned away at the door, counted by address, minute and kind.", f"{T}failedauthentication/"),
    Shot("failed-authentication", "A failed authentication", "One of these rows, to look at.", f"{T}failedauthentication/", act.opened, ("admin:telemetry_failedauthentication_change",)),
    Shot("kept-contents", "Kept content", "The calls whose content is kept, encrypted, because their client's setting says so.", f"{T}capturedcontent/"),
    Shot("kept-content", "One of them", "How long it is kept, and under which key; what was said is not shown here.", f"{T}capturedcontent/", act.opened, ("admin:telemetry_capturedcontent_change",)),
    Shot("content-asked", "Opening kept content", "Give the reason, which is recorded under your name, and what was said is shown once.", CALLS + "?period=1h&client=nightly-summary&method=chat", act.then(act.opened, act.clicked("Open it…")), ("admin:call_content",)),
    Shot("content-accesses", "Opened content", "Who opened what, when, and for which reason; nobody can change it.", f"{T}contentaccess/"),
    Shot("content-access", "An opening", "One of these rows, to look at.", f"{T}contentaccess/", act.opened, ("admin:telemetry_contentaccess_change",)),
    Shot("rollups", "Roll-ups of calls", "The sums behind the home page, by minute, hour and day, per provider and client; choose one kind on the right.", f"{T}callrollup/", whole=False),
    Shot("rollup", "A roll-up", "The calls of one minute, hour or day, to look at.", f"{T}callrollup/", act.opened, ("admin:telemetry_callrollup_change",)),
    Shot("method-uses", "Method uses", "When each client last used what it may call: what it no longer needs can be taken from it.", f"{T}methoduse/"),
    Shot("method-use", "A method use", "One of these rows, to look at.", f"{T}methoduse/", act.opened, ("admin:telemetry_methoduse_change",)),
]  # fmt: skip

PROTECTION = [
    Shot("retention-rules", "Retention rules", "How long calls are kept; without a rule they are kept for good, and the rule that names most applies.", f"{T}retentionrule/"),
    Shot("retention-rule-add", "Adding a retention rule", "Say whose calls, with which outcome, go after how many days; only superusers may.", f"{T}retentionrule/add/"),
    Shot("retention-rule", "A retention rule", "Change the days and save; calls that are older go soon after.", f"{T}retentionrule/1/change/"),
    Shot("legal-holds", "Legal holds", "Calls that no rule may remove, and why; those that were released stay listed.", f"{T}legalhold/"),
    Shot("legal-hold-add", "Adding a legal hold", "Name the reason, and whose calls from when to when are held, and save.", f"{T}legalhold/add/"),
    Shot("legal-hold", "A legal hold", "Set *Released at* to let go; a hold is never deleted.", f"{T}legalhold/1/change/"),
    Shot("checkpoints", "Checkpoints", "The signatures over the record, newest first: up to which call each reaches.", f"{T}auditcheckpoint/"),
    Shot("checkpoint", "A checkpoint", "One signature as it is kept outside the database as well.", f"{T}auditcheckpoint/", act.opened, ("admin:telemetry_auditcheckpoint_change",)),
    Shot("tombstones", "Tombstones", "What stands in the place of calls that were removed for their age, so that the rest still verifies.", f"{T}audittombstone/"),
    Shot("tombstone", "A tombstone", "Which calls were removed, by which rule and whom, signed.", f"{T}audittombstone/", act.opened, ("admin:telemetry_audittombstone_change",)),
    Shot("verifications", "Verifications", "When the record was verified, by whom, and what was found; the server does it once a day, `manage.py audit_verify` at once.", f"{T}auditverification/"),
    Shot("verification", "A verification", "What one verification looked at and found.", f"{T}auditverification/", act.opened, ("admin:telemetry_auditverification_change",)),
]  # fmt: skip
