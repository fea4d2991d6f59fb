"""`countermand demo`."""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import click
import structlog

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import console, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.dev.demo.actors import DemoFailed
from countermand.coordinator.dev.demo.program import NAMES, Options, perform
from countermand.coordinator.dev.demo.screen import screen_for
from countermand.coordinator.dev.processes import DevelopmentError

DEFAULTS = Options()
# Beyond it a client gives up on a request that nobody answers.
DOWN_MAX_S = 20.0


class KillType(click.ParamType[tuple[int, str]]):
    """PERCENT:NAME."""

    name = "percent:name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, str]:
        percent, _, name = value.partition(":")
        if not percent.isdigit() or int(percent) > 100:
            self.fail(
                f"{value!r}: PERCENT is {percent!r}; expected PERCENT:NAME with a number from 0 to 100", param, ctx
            )
        if name not in NAMES:
            self.fail(f"{value!r}: NAME is {name!r}; expected PERCENT:NAME with one of {', '.join(NAMES)}", param, ctx)
        return int(percent), name


@click.command()
@click.option("--orders", type=click.IntRange(1, 200), default=DEFAULTS.orders, show_default=True, help="How many.")
@click.option(
    "--kill",
    "kills",
    type=KillType(),
    multiple=True,
    metavar="PERCENT:NAME",
    help="Kill this process when so many orders have ended; as often as you like. "
    f"Default: {', '.join(f'{percent}:{name}' for percent, name in DEFAULTS.kills)}.",
)
@click.option(
    "--down",
    type=click.FloatRange(0, DOWN_MAX_S),
    default=DEFAULTS.down_s,
    show_default=True,
    metavar="SECONDS",
    help="How long a killed process is away.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep ledgers, outcomes and logs here; an empty or a new folder.",
)
@click.option("--example", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Your own copy of it.")
@click.option("--amqp", metavar="URL", help="A RabbitMQ to use instead of the embedded broker; with --redis.")
@click.option("--redis", metavar="URL", help="A Redis to use instead of the embedded Valkey; with --amqp.")
def demo(
    orders: int,
    kills: tuple[tuple[int, str], ...],
    down: float,
    folder: Path | None,
    example: Path | None,
    amqp: str | None,
    redis: str | None,
) -> None:
    """Run 200 orders through crashes, and balance the books.

    Starts servers of its own, a coordinator, three services and a shop; kills some of them while the orders are on
    their way (kill -9) and starts them again. Then compares every ledger with what the sagas say. It takes half a
    minute and leaves nothing behind. Exit code 1: the books don't balance.
    """
    begun_s = time.monotonic()
    if (amqp is None) != (redis is None):
        raise click.UsageError("--amqp and --redis belong together: give both or none")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.BadParameter(f"{folder} is not empty, and books must not be mixed", param_hint="--folder")
    # What goes wrong is raised and told once; the driver would tell it at every try.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    options = Options(
        orders=orders,
        kills=kills or DEFAULTS.kills,
        down_s=down,
        folder=folder,
        amqp_url=amqp,
        redis_url=redis,
        example=example,
    )
    try:
        # Whoever ends us politely means what Ctrl-C means.
        performance = perform(options, screen_for(console()), begun_s=begun_s)
        balanced = run(performance, ended_by=(signal.SIGTERM,))
    except (DemoFailed, DevelopmentError) as error:
        tell(str(error))
        sys.exit(exits.FAULT)
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell("interrupted; everything that was started has been stopped")
        sys.exit(exits.INTERRUPTED)
    sys.exit(exits.DONE if balanced else exits.FAULT)
