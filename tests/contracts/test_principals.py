"""IAM principals and the callers that their requests show, for any name and path that IAM allows."""

import json
import string

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from contracts.principals import caller_of, caller_pattern, stable_caller
from sandbox import patterns

NAME = string.ascii_letters + string.digits + "_+=,.@-"
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

partitions = st.sampled_from(["aws", "aws-cn", "aws-us-gov"])
accounts = st.sampled_from(["111122223333", "111122223334"]) | st.text(string.digits, min_size=12, max_size=12)
names = st.sampled_from(["carrier", "carrier2", "Carrier", "role", "assumed-role"]) | st.text(
    NAME, min_size=1, max_size=64
)
paths = st.sampled_from(["/", "/partners/", "/a:b/", "/x:assumed-role/y/", "/assumed-role/", "/:iam:/"]) | st.text(
    PRINTABLE, max_size=20
).map("/{}/".format)
sessions = st.text(NAME, min_size=2, max_size=64)

roles = st.builds("arn:{}:iam::{}:role{}{}".format, partitions, accounts, paths, names)
users = st.builds("arn:{}:iam::{}:user{}{}".format, partitions, accounts, paths, names)
roots = st.builds("arn:{}:iam::{}:root".format, partitions, accounts)
principals = st.one_of(roles, users, roots)


def user_arn(principal: str, session: str) -> str:
    """What `$context.identity.userArn` is when this principal calls."""
    partition, _, _, account, resource = principal.split(":", 5)[1:]
    if not resource.startswith("role/"):
        return principal
    return f"arn:{partition}:sts::{account}:assumed-role/{resource.rpartition('/')[2]}/{session}"


def identity(principal: str) -> str:
    """Two ARNs with one identity would be one principal: IAM has a role name once per account, whatever its path."""
    return user_arn(principal, "s")


def taken(principal: str, caller: str) -> bool:
    pattern = json.dumps({"detail": {"caller": caller_pattern(principal)}})
    return patterns.matches(pattern, {"detail": {"caller": caller}})


def test_a_role_calls_as_its_sessions_without_its_path():
    role = "arn:aws:iam::111122223333:role/partners/eu/carrier"

    assert caller_of(role) == "arn:aws:sts::111122223333:assumed-role/carrier"
    assert stable_caller("arn:aws:sts::111122223333:assumed-role/carrier/session-7") == caller_of(role)


def test_a_user_calls_as_itself():
    user = "arn:aws:iam::111122223333:user/partners/carrier"

    assert caller_of(user) == stable_caller(user) == user


@settings(max_examples=300)
@given(principal=principals, session=sessions)
@example(principal="arn:aws:iam::111122223333:role/a:b/carrier", session="s7")
@example(principal="arn:aws:iam::111122223333:user/x:assumed-role/y/bob", session="s7")
@example(principal="arn:aws:iam::111122223333:root", session="s7")
def test_every_call_of_a_principal_is_its_own(principal, session):
    call = user_arn(principal, session)

    assert stable_caller(call) == caller_of(principal)
    assert taken(principal, call)


@settings(max_examples=500)
@given(principal=principals, other=principals, session=sessions)
@example(
    principal="arn:aws:iam::111122223333:role/carrier", other="arn:aws:iam::111122223333:role/carrier2", session="s7"
)
@example(
    principal="arn:aws:iam::111122223333:user/x:assumed-role/y/bob",
    other="arn:aws:iam::111122223333:user/x:assumed-role/y/eve",
    session="s7",
)
@example(principal="arn:aws:iam::1:role/carrier", other="arn:aws:iam::1:user/carrier", session="s7")
def test_no_call_of_a_principal_is_anothers(principal, other, session):
    assume(identity(principal) != identity(other))
    call = user_arn(other, session)

    assert stable_caller(call) != caller_of(principal)
    assert not taken(principal, call)


@settings(max_examples=200)
@given(principal=principals, session=sessions)
def test_a_stable_caller_stays_what_it_is(principal, session):
    caller = stable_caller(user_arn(principal, session))

    assert stable_caller(caller) == caller
