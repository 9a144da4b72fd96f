"""``diagnose``: from what was observed to findings, outlook and verdict.

The codes, their severities and their texts are the table in ``icekit.catalogue``; the rules are small pure functions in
the ``rules_`` modules, by what they look at. A TURN stage that failed has exactly one finding, with its ``TURN-`` code;
no ``ICE`` rule says the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from icekit import rules_candidates, rules_configuration, rules_nat, rules_servers, rules_stages
from icekit.outlook import outlook
from icekit.probe_observations import Observations
from icekit.report import Finding, ProbeReport, Severity
from icekit.verdict import verdict

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.OK: 3}

Rule = Callable[[Observations], Iterator[Finding]]

# In the order in which findings of one severity are told: what explains most comes first.
RULES: tuple[Rule, ...] = (
    rules_stages.failed_stages,
    rules_configuration.bad_url,
    rules_configuration.no_turn,
    rules_configuration.stun_used_as_turn,
    rules_candidates.relay_unusable,
    rules_servers.certificates,
    rules_servers.sinkhole,
    rules_nat.alg_rewrite,
    rules_nat.mapping_unproven,
    rules_nat.filtering_untestable,
    rules_nat.srflx_not_public,
    rules_servers.slow_entry,
    rules_servers.consent_rtt,
    rules_servers.short_allocation,
    rules_configuration.short_credentials,
    rules_configuration.server_ignored,
    rules_servers.one_path_error,
    rules_configuration.too_many_servers,
    rules_candidates.candidate_lines,
    rules_nat.no_nat,
    rules_servers.tcp_is_client_side_only,
)


def diagnose(observed: Observations) -> ProbeReport:
    """What was observed, with findings (the worst first), outlook and verdict."""
    rules: Iterable[Rule] = (rules_stages.failed_stages,) if observed.local else RULES
    paths = outlook(observed)
    return ProbeReport(
        duration=observed.duration,
        verdict=verdict(observed, paths),
        findings=ranked(chain.from_iterable(rule(observed) for rule in rules)),
        interfaces=observed.interfaces,
        nat=observed.nat,
        servers=observed.servers,
        dns=observed.dns,
        portmap=observed.portmap,
        turn=observed.turn,
        candidates=observed.candidates,
        outlook=paths,
    )


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, the worst first, and else in the order given."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: _RANK[finding.severity]))
