"""What the page's forms change; each function returns the address that is shown after it."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session
from starlette.requests import Request

from mpota.errors import CommandError
from mpota.server import accounts, actions, decision
from mpota.server.accounts import Principal
from mpota.server.decision import BoardState
from mpota.server.forms import Form

if TYPE_CHECKING:
    from mpota.server.app import Server


def change_board(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Change a board's state or all that an operator says of it, or let it try again."""
    board = actions.find_board(session, request.path_params["mac"])
    states = [str(state) for state in BoardState]
    if form.text("do") == "retry":
        actions.retry(session, principal, board)
    elif form.text("do") == "state":
        actions.change_board(session, principal, board, state=form.choice("state", states))
    else:
        actions.change_board(
            session, principal, board,
            state=form.choice("state", states),
            label=form.label("label"),
            group_name=form.name("group"),
            channel=form.name("channel") or decision.DEFAULT_CHANNEL,
            pin_id=form.number("pin"),
        )  # fmt: skip
    back = form.text("back")
    return back if back.startswith("/boards") else f"/boards/{board.mac}"


def add_release(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Keep an uploaded image as a release."""
    described = actions.describe(
        principal,
        form.file,
        server.keys,
        application=form.name("application"),
        version=form.name("version"),
    )
    channel = form.name("channel") or decision.DEFAULT_CHANNEL
    actions.add_release(session, principal, server.images, form.file, described, channel, "")
    return "/releases"


def change_release(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Withdraw a release, or take that back."""
    release = actions.find_release(session, _number(request))
    withdrawn = form.text("do") == "withdraw"
    actions.change_release(session, principal, release, withdrawn=withdrawn)
    return "/releases"


def start_rollout(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Begin a roll-out: to a share of the boards first, then to all."""
    release = actions.find_release(session, form.number("release") or 0)
    share = form.decimal("percent", 100.0)
    phases = [decision.Phase(share, 60 * form.decimal("soak_min", 0.0))]
    if share < 100:
        phases.append(decision.Phase())
    made = decision.Rollout(
        id=0,
        release_id=release.id,
        phases=tuple(phases),
        groups=frozenset({form.name("group")} - {""}),
        downloads_at_once=form.number("at_once"),
        abort_share=form.decimal("abort_percent", 20.0) / 100,
        abort_minimum=form.number("abort_minimum") or 5,
    )
    rollout = actions.start_rollout(session, principal, release, made)
    return f"/rollouts/{rollout.id}"


def move_rollout(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Pause, resume or cancel a roll-out."""
    rollout = actions.find_rollout(session, _number(request), lock=True)
    actions.move_rollout(session, principal, rollout, form.choice("do", list(actions.MOVES)))
    return f"/rollouts/{rollout.id}"


def change_password(
    server: "Server", session: Session, principal: Principal, request: Request, form: Form
) -> str:
    """Give whoever is logged in another password, which logs all their browsers out."""
    if form.text("password") != form.text("again"):
        raise CommandError("the two passwords differ: go back and type them again")
    accounts.change_password(session, principal.operator_id, form.text("password"))
    accounts.note(session, principal, "password changed", principal.name)
    return "/login"


def _number(request: Request) -> int:
    return actions.number_of(request.path_params["number"])
