"""What Django, Daphne and asyncio log through Python's `logging`: carried over, without any exception's text."""

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest
from logged import lines, logging_to

from telemetry.logs import StandardHandler, describe, log

CANARY = "sk-canary 'and a \"prompt\"'"


@pytest.fixture
def logger() -> logging.Logger:
    """Outside of the tree of loggers, where pytest listens too."""
    logger = logging.Logger("tests.standard")
    logger.addHandler(StandardHandler())
    return logger


def told(path: Path) -> list[dict[str, Any]]:
    """What came through the logger of the test; the log is the process' one, others use it too."""
    return [line for line in lines(path) if line["metadata"].get("logger") == "tests.standard"]


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", "debug"), ("info", "info"), ("warning", "warn"), ("error", "error"), ("critical", "error")],
)
def test_levels_and_the_logger_s_name_are_carried_over(
    tmp_path: Path, logger: logging.Logger, level: str, written: str
) -> None:
    with logging_to(tmp_path / "out", log, level="debug"):
        getattr(logger, level)("said %s", 5)
    (line,) = told(tmp_path / "out")
    assert (line["level"], line["message"], line["metadata"]) == (
        written,
        "said 5",
        {"logger": "tests.standard"},
    )


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, OSError])
def test_no_way_of_logging_an_exception_shows_its_text(
    tmp_path: Path, logger: logging.Logger, kind: type[Exception]
) -> None:
    error = raised(kind(CANARY), cause=kind(CANARY))
    with logging_to(tmp_path / "out", log):
        logger.error("failed", exc_info=error)
        logger.error("failed: %s", error, exc_info=error)
        logger.error("failed: %s, %r", error, error)
        logger.error("failed: %(error)s", {"error": error})
        logger.error(error)
        logger.error(f"failed: {error} {error!r}", exc_info=error)
        logger.error("failed: {}", error)
    written = told(tmp_path / "out")
    assert len(written) == 7
    assert "canary" not in (tmp_path / "out").read_text()
    assert [line["message"] for line in written[:4]] == [
        "failed",
        f"failed: {kind.__name__}",
        f"failed: {kind.__name__}, '{kind.__name__}'",
        f"failed: {kind.__name__}",
    ]
    assert written[4]["message"] == kind.__name__
    assert written[0]["metadata"]["errorType"] == written[0]["metadata"]["cause"] == kind.__name__
    assert written[0]["metadata"]["frames"][-1].startswith("test_standard_handler.py:")


def test_an_exception_of_a_task_that_nobody_asked_for_shows_its_type_only(tmp_path: Path) -> None:
    """asyncio writes the exception's repr into the message itself."""

    async def fail() -> None:
        raise ValueError(CANARY)

    async def forget() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.wait((task,))
        del task
        gc.collect()

    handler, asyncio_logger = StandardHandler(), logging.getLogger("asyncio")
    asyncio_logger.addHandler(handler)
    asyncio_logger.propagate = False
    try:
        with logging_to(tmp_path / "out", log):
            asyncio.run(forget())
    finally:
        asyncio_logger.removeHandler(handler)
        asyncio_logger.propagate = True
    (line,) = [line for line in lines(tmp_path / "out") if "never retrieved" in line["message"]]
    assert "canary" not in str(line)
    assert line["metadata"]["errorType"] == "ValueError"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%s %s", (1,)), ("%d", ("x",)), ("%(a)s", ({"b": 1},)), ("%", (1,)), ("none", (1, 2))],
)
def test_arguments_that_do_not_fit_harm_nobody(
    tmp_path: Path, logger: logging.Logger, message: str, arguments: tuple[Any, ...]
) -> None:
    with logging_to(tmp_path / "out", log):
        logger.error(message, *arguments)
    (line,) = told(tmp_path / "out")
    assert line["message"] == f"{message} (its arguments do not fit)"


def test_what_an_exception_is_described_by() -> None:
    assert describe(None) == {}
    described = describe(raised(ValueError(CANARY)))
    assert (described["errorType"], described["cause"]) == ("ValueError", None)
    assert "canary" not in str(described)
