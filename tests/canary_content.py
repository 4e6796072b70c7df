"""The two pages that lead from a text to its call and back: kept content, which must show it, and the question whether
it was sent, which must not."""

import html
from collections.abc import Iterator

from canary import TEXTS
from conftest import RunningGateway
from form_pages import sent


def open_kept_content(gateway: RunningGateway) -> None:
    """Everything that was asked and answered is there for who opens it: the one page where it may be read."""
    code = "from telemetry.models import CapturedContent as C; print(*C.objects.values_list('call_id', flat=True))"
    wanted = {TEXTS[name] for name in ("prompt", "system", "stream", "embed", "failing", "answer", "played")}
    opened = 0
    for call_id in gateway.manage("shell", "-v", "0", "-c", code).stdout.split():
        path = f"/admin/telemetry/content/{call_id}/"
        page = sent(gateway, path, {"reason": "the test of the canaries"}).text
        opened += 1
        wanted = {text for text in wanted if html.escape(text) not in page}
        if not wanted:
            break
    assert not wanted, f"{len(wanted)} texts in none of {opened} opened calls"


def ask_whether_sent(gateway: RunningGateway) -> Iterator[str]:
    path = "/admin/telemetry/requestlog/sent-text/"
    for text, found in ((TEXTS["prompt"], True), (TEXTS["answer"], True), (TEXTS["invalid"], False)):
        page = sent(gateway, path, {"text": text}).text
        assert ("<strong>Yes.</strong>" in page) == found, "the question is answered"
        yield page
