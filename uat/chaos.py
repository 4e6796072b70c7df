"""What survives when processes are killed and storage fails; promises 1, 2 and 22.

    .venv/bin/python uat/chaos.py [--kills 200] [--calls 20000] [--locked-s 60] [--only NAME]

    kills    SIGKILL of server, writer, both or a start at random moments under load; then nothing may be missing
    replay   10,000 calls that lie in the journal alone are stored after a restart
    locked   the SQLite database is locked at 50 calls/s
    full     the journal's file system, of 1 MB, is full (needs the right to mount)
    backup   a backup taken at 50 calls/s, restored

Prints what was found beside what is promised; exit code 1 when a figure is missed. SQLite only.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable

import chaos_kills
import chaos_storage
from chaos_stage import NoMount, Stage, staged
from chaos_verdict import Figure, print_table

Scenario = Callable[[Stage], list[Figure]]


def scenarios(options: argparse.Namespace) -> dict[str, Scenario]:
    return {
        "kills": lambda stage: chaos_kills.kills(
            stage, rounds=options.kills, calls=options.calls, seed=options.seed
        ),
        "replay": lambda stage: chaos_kills.replay(stage, calls=options.replay_calls),
        "locked": lambda stage: chaos_storage.locked(stage, seconds=options.locked_s),
        "full": lambda stage: chaos_storage.full(stage, calls=options.full_calls),
        "backup": lambda stage: chaos_storage.backup(stage, seconds=options.backup_s),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Kills processes and takes storage away; see the head of this file."
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--calls", type=int, default=20_000, help="at least so many in `kills`")
    parser.add_argument("--replay-calls", type=int, default=10_000)
    parser.add_argument("--locked-s", type=float, default=60)
    parser.add_argument("--full-calls", type=int, default=500)
    parser.add_argument("--backup-s", type=float, default=20)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="of the moments of the kills"
    )
    names = list(scenarios(parser.parse_args([])))
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    options = parser.parse_args()
    os.environ.pop("DATABASE_URL", None)
    print(f"seed {options.seed}", flush=True)
    missed = False
    for name, scenario in scenarios(options).items():
        if options.only and name not in options.only:
            continue
        try:
            with staged() as stage:
                figures = scenario(stage)
        except NoMount as error:
            print(f"\n{name}: skipped, nothing can be mounted here ({error})", flush=True)
            continue
        print_table(name, figures)
        missed = missed or any(figure.missed for figure in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
