"""``icekit credentials``: time-limited TURN credentials (the scheme of coturn's use-auth-secret) and room tokens."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from icekit.cli.options import JsonOutput, read_value
from icekit.errors import ConfigError
from icekit.printable import printable
from icekit.servers import decode_username, make_credentials

app = typer.Typer(
    help="Make and decode time-limited TURN credentials, and tokens for rooms of the signaling server.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

DAY = 86400


@app.command(short_help="Print a user name and a password that end by themselves.")
def make(
    user: Annotated[str, typer.Argument(metavar="USER", help="Any name; the server's log shows it.")] = "icekit",
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            metavar="SECRET",
            envvar="ICEKIT_SECRET",
            help="The server's static-auth-secret; @FILE reads it, which keeps it out of the process list.",
        ),
    ] = None,
    ttl: Annotated[
        int, typer.Option("--ttl", metavar="SECONDS", min=1, max=10 * 366 * DAY, help="How long they are valid.")
    ] = DAY,
    json: JsonOutput = False,
) -> None:
    """Print a user name and a password that are valid for a limited time."""
    secret = read_value("--secret", secret)
    if secret is None:
        raise ConfigError("the shared secret is missing; give --secret @FILE, or set ICEKIT_SECRET")
    expires_at = int(time.time()) + ttl
    username, credential = make_credentials(secret, user, expires_at)
    if json:
        _print_json(username=username, credential=credential, expires_at=expires_at, ttl=ttl)
    else:
        typer.echo(f"username    {username}\ncredential  {credential}\nexpires     {_utc(expires_at)}")


@app.command(short_help="Print a token that opens a room for a while.")
def token(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room that it opens.")],
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            metavar="SECRET",
            envvar="ICEKIT_ROOM_SECRET",
            help="The server's --room-secret; @FILE reads it, which keeps it out of the process list.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its holder enters under this name only.")
    ] = None,
    ttl: Annotated[
        int, typer.Option("--ttl", metavar="SECONDS", min=1, max=10 * 366 * DAY, help="How long it opens the room.")
    ] = DAY,
    json: JsonOutput = False,
) -> None:
    """Print a token that opens one room of the signaling server for a limited time."""
    # Every command loads this file; few make tokens.
    from icekit.signaling.room_terms import ROOM_NAME, is_member_name
    from icekit.tokens import RoomGrant, make_token

    secret = read_value("--secret", secret)
    if secret is None:
        raise ConfigError("the shared secret is missing; give --secret @FILE, or set ICEKIT_ROOM_SECRET")
    if not ROOM_NAME.fullmatch(room):
        raise ConfigError(f"{room!r}: a room has 1 to 64 letters, digits, - or _")
    if name is not None and not is_member_name(name):
        raise ConfigError(f"--name {name!r}: a name has 1 to 64 printable characters, no space around")
    expires_at = int(time.time()) + ttl
    made = make_token(secret, RoomGrant(room=room, expires_at=expires_at, name=name))
    if json:
        _print_json(token=made, room=room, name=name, expires_at=expires_at, ttl=ttl)
    else:
        typer.echo(made)
        typer.echo(f"It opens the room {room} until {_utc(expires_at)}.", err=True)


@app.command()
def decode(
    username: Annotated[str, typer.Argument(metavar="USERNAME|TOKEN", help="Such as 1750000000:alice, or a token.")],
    json: JsonOutput = False,
) -> None:
    """Tell when a time-limited user name or a room token ends. Exit code 1: it has ended, or has no time in it."""
    if username.count(".") == 2 and username.startswith("eyJ"):
        _decode_token(username, json)
        return
    decoded = decode_username(username)
    if decoded.expires_at is None:
        left = None
        text = f"user     {decoded.user}\nexpires  never: there is no time in this name"
    else:
        left = decoded.expires_at - int(time.time())
        when = f"{_length(left)} left" if left > 0 else f"ended {_length(-left)} ago"
        text = f"user     {decoded.user}\nexpires  {_utc(decoded.expires_at)} ({when})"
        if decoded.milliseconds:
            text += "\nwrong    the time is in milliseconds; servers want seconds"
    valid = left is not None and left > 0 and not decoded.milliseconds
    if json:
        _print_json(
            username=username,
            user=decoded.user,
            expires_at=decoded.expires_at,
            seconds_left=left,
            milliseconds=decoded.milliseconds,
            valid=valid,
        )
    else:
        typer.echo("".join(character if character.isprintable() or character == "\n" else "�" for character in text))
    if not valid:
        raise typer.Exit(1)


def _decode_token(text: str, json: bool) -> None:
    from icekit.tokens import read_token

    grant = read_token(text)
    left = int(grant.expires_at - time.time())
    if json:
        _print_json(
            room=grant.room,
            name=grant.name,
            expires_at=int(grant.expires_at),
            seconds_left=left,
            valid=left > 0,
        )
    else:
        when = f"{_length(left)} left" if left > 0 else f"ended {_length(-left)} ago"
        lines = [f"room     {grant.room}", f"expires  {_utc(int(grant.expires_at))} ({when})"]
        if grant.name is not None:
            lines.insert(1, f"name     {grant.name}")
        typer.echo("\n".join([*map(printable, lines), "The signature was not checked: that takes the secret."]))
    if left <= 0:
        raise typer.Exit(1)


def _print_json(**fields: str | int | None) -> None:
    import json

    typer.echo(json.dumps({"schema": "icekit/credentials/1", **fields}, indent=2))


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _length(seconds: int) -> str:
    for unit, name in ((DAY, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
