"""`countermand`: run coordinators, start sagas, find out why one is stuck, and free it.

Data goes to standard output, messages to standard error; `exits` has the exit codes.
"""

import io
import sys
from collections.abc import Mapping
from typing import ClassVar

import click

from countermand.coordinator.cli.ended import tell_if_ended
from countermand.coordinator.cli.failing import FailingInWords
from countermand.coordinator.cli.lazy import Section

EXIT_CODES = """\b
Exit codes
  0  done                          6    RabbitMQ or Redis can't be reached
  1  a fault of countermand        8    the saga ended compensated
  2  wrong usage or settings       9    the saga is stuck
  3  not found                     10   doctor: something is wrong
  4  refused, and why              11   doctor: something is critical
  5  of many, some were refused    124  it took longer than was asked for
                                   130  interrupted"""


class Countermand(FailingInWords):
    """The table of commands."""

    sections: ClassVar[Mapping[str, Section]] = {
        "Begin": {
            "init": ("init:init", "Write a small project to begin with: a saga, two services, tests."),
            "demo": ("demo:demo", "Run 200 orders through crashes, and balance the books."),
        },
        "Run": {
            "dev": ("dev:dev", "Start everything that development needs, and serve your participants and sagas."),
            "serve": ("serving:serve", "Run a coordinator until it is told to stop."),
            "probe": ("probing:probe", "Say whether a coordinator or a participant on this machine is ready."),
            "settings": ("serving:show_settings", "Show every setting with its value."),
            "completion": ("completion:completion", "Print what makes your shell complete these commands."),
        },
        "Sagas": {
            "apply": ("applying:apply", "Register definitions: files in JSON or YAML, sagas in Python."),
            "start": ("starting:start", "Start a saga, and wait for its outcome if you like."),
            "signal": ("happening:signal", "Tell one saga that something happened."),
            "events": ("happening:events", "Publish an event to every saga that waits for it."),
        },
        "Look": {
            "list": ("listing:list_", "List sagas, newest first."),
            "stuck": ("stuck:stuck", "Show what sagas are stuck on, in groups, and how to free them."),
            "show": ("showing:show", "Show one saga: its steps in time, why it is stuck, what can be done."),
            "history": ("history:history", "Tell what happened to a saga, line by line."),
            "watch": ("watching:watch", "Watch all sagas, or one until it ends."),
            "definitions": (
                "definitions:definitions",
                "List the registered definitions; print, draw, compare or check some.",
            ),
            "approvals": ("approvals:approvals", "List what waits for a person's decision; look at it, and decide."),
            "locks": ("locks:locks", "List the locks that sagas hold or wait for; show one."),
            "participants": ("participants:participants", "List the participants: queues, processes, what is wrong."),
        },
        "Act (each with a reason, on one saga or on many)": {
            "retry": ("acting:retry", "Ask for a step or its compensation again."),
            "skip": ("acting:skip", "Go on without a step or its compensation."),
            "settle-compensation": ("acting:settle_compensation", "Count a compensation as done by hand."),
            "compensate": ("acting:compensate", "Turn a saga back: everything that it did is undone."),
            "pause": ("acting:pause", "Ask for nothing more, until it is resumed."),
            "resume": ("acting:resume", "Go on with a paused saga."),
            "extend": ("acting:extend", "Give a saga more time before its deadline."),
            "migrate": ("acting:migrate", "Move a saga on hold to another version of its definition."),
            "abandon": ("acting:abandon", "End a saga as it is, and undo nothing."),
        },
        "Servers": {
            "doctor": ("doctor:doctor", "Say what is wrong with RabbitMQ, Redis, coordinators, and how to mend it."),
            "dead": ("dead:dead", "Look at dead letters, send them back, or throw them away."),
        },
    }


@click.group(cls=Countermand, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countermand")
@click.pass_context
def cli(context: click.Context) -> None:
    """Durable sagas over RabbitMQ and Redis. Every command has its countermand.

    Configured by environment variables COUNTERMAND_…; `countermand settings` shows them.
    """
    tell_if_ended(context.invoked_subcommand)


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What participants write goes beyond some terminals; a character less is better than no screen.
            stream.reconfigure(errors="replace")
    cli()


if __name__ == "__main__":
    main()
