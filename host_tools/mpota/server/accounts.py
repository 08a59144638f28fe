"""Operators, the browsers that they have logged in with, and tokens for programs.

Passwords are kept as argon2 hashes. Cookies and tokens are random and long, so that their SHA-256
is all that needs to be kept of them.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session

from mpota.errors import CommandError
from mpota.server.database import Audit, LoginSession, Operator, Token
from mpota.server.errors import ConflictError

READ, BOARDS, RELEASES, ROLLOUTS, ADMIN = SCOPES = (
    "read", "boards", "releases", "rollouts", "admin",
)  # fmt: skip
FIRST_NAME = "admin"
SHORTEST_PASSWORD = 10
TOKEN_PREFIX = "mpota_"
SESSION_S = 12 * 3600
# The second of the settings that OWASP recommends: a login takes 19 MiB while it goes on.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_NOBODY = _HASHER.hash(secrets.token_hex())


@dataclass(frozen=True)
class Principal:
    """Somebody who uses the page or the API: their name, scopes and IP address.

    `csrf` is what forms of this session must bring, "" where a token was shown.
    """

    operator_id: int
    name: str
    scopes: frozenset[str]
    address: str
    csrf: str = ""
    must_change: bool = False

    def may(self, scope: str) -> bool:
        """Return whether *scope* is allowed; every other scope allows reading as well."""
        return ADMIN in self.scopes or scope in self.scopes or (scope == READ and bool(self.scopes))


def first_operator(session: Session) -> str:
    """Make the first operator and return the password; "" where there are operators already."""
    if session.scalar(sa.select(Operator.id).limit(1)):
        return ""
    password = secrets.token_urlsafe(12)
    add_operator(session, FIRST_NAME, password, [ADMIN], must_change=True)
    return password


def add_operator(
    session: Session, name: str, password: str, scopes: list[str], must_change: bool = False
) -> Operator:
    """Add somebody who may log in. Raises CommandError; ConflictError where the name is taken."""
    check_scopes(scopes)
    if session.scalar(sa.select(Operator.id).where(Operator.name == name)):
        raise ConflictError(f"there is an operator {name} already: give another name")
    operator = Operator(
        name=name,
        password_hash=hashed(password),
        scopes=scopes,
        must_change=must_change,
        created=time.time(),
    )
    session.add(operator)
    session.flush()
    return operator


def hashed(password: str) -> str:
    """Return the hash of a new password. Raises CommandError where it is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise CommandError(f"a password has {SHORTEST_PASSWORD} characters at least")
    return _HASHER.hash(password)


def check_scopes(scopes: list[str]) -> None:
    """Raise CommandError where one of *scopes* does not exist."""
    for scope in scopes:
        if scope not in SCOPES:
            raise CommandError(f"{scope!r} is no scope: the scopes are {', '.join(SCOPES)}")


def check(session: Session, name: str, password: str) -> Operator | None:
    """Return the operator with that name and password; None takes as long as a success."""
    operator = session.scalar(sa.select(Operator).where(Operator.name == name))
    try:
        _HASHER.verify(operator.password_hash if operator else _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return None
    return operator


def open_session(session: Session, operator: Operator) -> str:
    """Log a browser in; return its cookie."""
    cookie = secrets.token_urlsafe(32)
    now = time.time()
    session.execute(sa.delete(LoginSession).where(LoginSession.expires < now))
    session.add(
        LoginSession(
            token_sha256=_sha256(cookie),
            operator_id=operator.id,
            csrf=secrets.token_urlsafe(24),
            created=now,
            expires=now + SESSION_S,
        )
    )
    return cookie


def close_session(session: Session, cookie: str) -> None:
    """Log a browser out."""
    session.execute(sa.delete(LoginSession).where(LoginSession.token_sha256 == _sha256(cookie)))


def change_password(session: Session, operator_id: int, password: str) -> None:
    """Give an operator another password, and log all their browsers out."""
    operator = session.get_one(Operator, operator_id)
    operator.password_hash = hashed(password)
    operator.must_change = False
    session.execute(sa.delete(LoginSession).where(LoginSession.operator_id == operator_id))


def principal_of(operator: Operator, address: str) -> Principal:
    """Return what *operator* may do who has shown a password from *address*."""
    return Principal(
        operator.id, operator.name, frozenset(operator.scopes), address,
        must_change=operator.must_change,
    )  # fmt: skip


def by_cookie(session: Session, cookie: str, address: str) -> Principal | None:
    """Return the operator whose browser has this cookie; None where its login has ended."""
    found = session.get(LoginSession, _sha256(cookie)) if cookie else None
    if found is None or found.expires < time.time():
        return None
    operator = found.operator
    return Principal(
        operator.id, operator.name, frozenset(operator.scopes), address, found.csrf,
        operator.must_change,
    )  # fmt: skip


def add_token(
    session: Session, principal: Principal, name: str, scopes: list[str], days: int | None
) -> tuple[Token, str]:
    """Make a token; return it and its text, which is shown once. Those that have ended are removed.

    Without *scopes* it may do all that its operator may. Raises CommandError for scopes that its
    operator does not have.
    """
    scopes = scopes or sorted(principal.scopes)
    check_scopes(scopes)
    for scope in scopes:
        if not principal.may(scope):
            raise CommandError(f"you may not do what the scope {scope} allows: leave it out")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    now = time.time()
    session.execute(sa.delete(Token).where(Token.expires < now))
    token = Token(
        operator_id=principal.operator_id,
        name=name,
        token_sha256=_sha256(text),
        scopes=scopes,
        created=now,
        expires=None if days is None else now + 86400 * days,
    )
    session.add(token)
    session.flush()
    return token, text


def by_token(session: Session, text: str, address: str) -> Principal | None:
    """Return the operator of a token with the scopes of both; None where it is not good."""
    found = session.scalar(sa.select(Token).where(Token.token_sha256 == _sha256(text)))
    if found is None or (found.expires is not None and found.expires < time.time()):
        return None
    owner = principal_of(found.operator, address)
    scopes = frozenset(scope for scope in found.scopes if owner.may(scope))
    return Principal(owner.operator_id, owner.name, scopes, address)


def is_same(told: str, wanted: str) -> bool:
    """Compare two secret texts; the time it takes tells nothing about them."""
    return hmac.compare_digest(told.encode(), wanted.encode())


def note(
    session: Session, principal: Principal, what: str, target: str = "", detail: str = ""
) -> None:
    """Write into the audit what an operator has done."""
    session.add(
        Audit(
            at=time.time(),
            operator=principal.name,
            address=principal.address,
            what=what,
            target=target,
            detail=detail,
        )
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
