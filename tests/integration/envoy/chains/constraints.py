"""Chains: name constraints on DNS names, and their form (RFC 5280, 4.2.1.10)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import der, forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Extension, Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

ACME = forge.dns("acme.example")


@case(V)
def dns_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: a.acme.example."""
    return story.permitted(ACME, forge.dns("a.acme.example"))


@case(V)
def dns_permitted_itself_in_another_case(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: ACME.Example."""
    return story.permitted(ACME, forge.dns("ACME.Example"))


@case(U)
def dns_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: a.other.example."""
    return story.permitted(ACME, forge.dns("a.other.example"))


@case(U)
def dns_not_permitted_among_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: a.acme.example and a.other.example."""
    return story.permitted(ACME, forge.dns("a.acme.example"), forge.dns("a.other.example"))


@case(U)
def dns_that_only_ends_alike(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: notacme.example."""
    return story.permitted(ACME, forge.dns("notacme.example"))


@case(V, but=Difference.CONTROL, answer=503)
def dns_with_a_nul(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: evil.example NUL .acme.example."""
    return story.permitted(ACME, forge.dns("evil.example\0.acme.example"))


@case(V)
def dns_wildcard_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: *.acme.example."""
    return story.permitted(ACME, forge.dns("*.acme.example"))


@case(U)
def dns_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not DNS acme.example (sent) -> leaf: a.acme.example."""
    return story.excluded(ACME, forge.dns("a.acme.example"))


@case(U)
def dns_excluded_in_another_case(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not DNS acme.example (sent) -> leaf: A.ACME.EXAMPLE."""
    return story.excluded(ACME, forge.dns("A.ACME.EXAMPLE"))


@case(U)
def dns_wildcard_over_an_excluded_name(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not DNS a.acme.example (sent) -> leaf: *.acme.example, which stands for it too."""
    return story.excluded(forge.dns("a.acme.example"), forge.dns("*.acme.example"))


@case(V)
def dns_not_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not DNS acme.example (sent) -> leaf: a.other.example."""
    return story.excluded(ACME, forge.dns("a.other.example"))


@case(U)
def dns_all_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: no DNS name at all (sent) -> leaf: a.acme.example."""
    return story.excluded(forge.dns(""), forge.dns("a.acme.example"))


@case(U)
def dns_permitted_and_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example, but not a.acme.example (sent) -> leaf: a.acme.example."""
    constraint = forge.name_constraints(permitted=[ACME], excluded=[forge.dns("a.acme.example")])
    return story.constrained(constraint, forge.dns("a.acme.example"))


@case(V, but=Difference.DOT)
def dns_constraint_with_a_dot(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS .acme.example (sent) -> leaf: a.acme.example; the dot is not in RFC 5280."""
    return story.permitted(forge.dns(".acme.example"), forge.dns("a.acme.example"))


@case(V)
def no_name_of_the_constrained_kind(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf without alternative names: nothing is constrained."""
    return story.permitted(ACME)


@case(V)
def other_kind_than_the_constrained(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: a URI."""
    return story.permitted(ACME, forge.uri("spiffe://other.example/a"))


@case(U, but=Difference.COMMON_NAME)
def host_name_as_common_name(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example (sent) -> leaf: CN a.other.example, without alternative names."""
    return story.permitted(ACME, subject=story.name("a.other.example"))


@case(U)
def dns_constraint_of_an_outer_authority(story: Story) -> Sequence[Forged]:
    """[root] -> outer: DNS acme.example (sent) -> inner: DNS other.example (sent) -> leaf: a.other.example."""
    root = story.authority("root")
    outer = story.authority("outer", root, forge.name_constraints(permitted=[ACME]))
    loose = forge.name_constraints(permitted=[forge.dns("other.example")])
    inner = story.authority("inner", outer, loose)
    story.trust(root)
    story.may_issue(inner)
    return [story.leaf(inner, forge.alternative_names(forge.dns("a.other.example"))), inner, outer]


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def dns_constraint_in_the_bundle(story: Story) -> Sequence[Forged]:
    """[root] -> [middle: DNS acme.example] -> leaf: a.other.example."""
    root = story.authority("root")
    middle = story.authority("middle", root, forge.name_constraints(permitted=[ACME]))
    story.trust(root, middle)
    return [story.leaf(middle, forge.alternative_names(forge.dns("a.other.example")))]


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def dns_constraint_of_the_anchor(story: Story) -> Sequence[Forged]:
    """[root: DNS acme.example] -> leaf: a.other.example."""
    root = story.authority("root", None, forge.name_constraints(permitted=[ACME]))
    story.trust(root)
    return [story.leaf(root, forge.alternative_names(forge.dns("a.other.example")))]


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def dns_constraint_of_a_middle_anchor(story: Story) -> Sequence[Forged]:
    """Root -> [middle: DNS acme.example] -> leaf: a.other.example."""
    middle = story.authority("middle", story.authority("root"), forge.name_constraints(permitted=[ACME]))
    story.trust(middle)
    return [story.leaf(middle, forge.alternative_names(forge.dns("a.other.example")))]


@case(U)
def constraint_with_a_minimum(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example, minimum 1 (sent) -> leaf: a.acme.example; minimum must be 0."""
    tree = der.sequence(ACME, der.implicit(0, b"\x01"))
    constraint = Extension("2.5.29.30", der.sequence(der.explicit(0, tree)), der.TRUE)
    return story.constrained(constraint, forge.dns("a.acme.example"))


@case(V)
def constraint_uncritical(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example, not critical (sent) -> leaf: a.acme.example."""
    constraint = forge.name_constraints(permitted=[ACME]).uncritical()
    return story.constrained(constraint, forge.dns("a.acme.example"))


@case(U)
def constraint_uncritical_counts_too(story: Story) -> Sequence[Forged]:
    """[root] -> middle: DNS acme.example, not critical (sent) -> leaf: a.other.example."""
    constraint = forge.name_constraints(permitted=[ACME]).uncritical()
    return story.constrained(constraint, forge.dns("a.other.example"))


@case(U, but=Difference.LIMITS)
def constraints_without_end(story: Story) -> Sequence[Forged]:
    """[root] -> middle: 1 100 excluded DNS names (sent) -> leaf: 1 100 DNS names: more than a million comparisons."""
    many = [forge.dns(f"{number}.example") for number in range(1100)]
    names = [forge.dns(f"{number}.acme.test") for number in range(1100)]
    return story.constrained(forge.name_constraints(excluded=many), *names)
